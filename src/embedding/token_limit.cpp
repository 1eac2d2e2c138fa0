#include "embedding/token_limit.h"

#include <algorithm>

namespace rapt::embedding {

std::int64_t count_closing_tokens(const Tokenizer& tokenizer) {
  const auto plain = tokenizer.encode("a", {.special_tokens = false});
  const auto whole = tokenizer.encode("a");
  const auto text = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
  return text == whole.end() ? 0 : whole.end() - text - std::ssize(plain);
}

std::int64_t cut(std::vector<std::int32_t>& ids, std::int64_t limit, std::int64_t closing_tokens) {
  const std::int64_t surplus = static_cast<std::int64_t>(ids.size()) - limit;
  if (surplus <= 0) return 0;
  const auto end = ids.end() - closing_tokens;
  ids.erase(end - surplus, end);
  return surplus;
}

}  // namespace rapt::embedding
