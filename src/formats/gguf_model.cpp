#include "formats/gguf_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::int64_t max_layers = 100'000;
constexpr std::int64_t max_positions = std::int64_t{1} << 30;
constexpr std::int64_t max_size = std::int64_t{1} << 20;
constexpr double max_rotary_base = 1e15;
constexpr std::size_t max_token_bytes = 65536;
constexpr std::string_view embedding = "token_embd.weight";

/// The keys of one architecture.
class Keys {
 public:
  explicit Keys(const Gguf& file) : file_(file), prefix_(std::string(file.text("general.architecture")) + ".") {}

  std::string architecture() const { return prefix_.substr(0, prefix_.size() - 1); }
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  bool has(std::string_view name) const { return file_.contains(key(name)); }

  /// 0 when the key is missing.
  std::int64_t size(std::string_view name, std::int64_t most = max_size) const {
    return has(name) ? file_.integer(key(name), 1, most) : 0;
  }

  /// A size, or an array with one a layer (0 in layers that do not have it).
  std::vector<std::int64_t> sizes(std::string_view name) const {
    if (!has(name)) return {};
    if (!file_.metadata().at(key(name)).length) return {size(name)};
    std::vector<std::int64_t> result = file_.integers(key(name));
    const bool in_range = std::ranges::all_of(result, [](std::int64_t n) { return n >= 0 && n <= max_size; });
    if (!in_range || result.empty()) refuse(name, fmt::format("integers from 0 to {}, one a layer", max_size));
    return result;
  }

  std::optional<double> number(std::string_view name, double least, double most) const {
    return has(name) ? std::optional(file_.number(key(name), least, most)) : std::nullopt;
  }

  [[noreturn]] void refuse(std::string_view name, std::string_view expected) const {
    file_.refuse(key(name), expected);
  }

 private:
  const Gguf& file_;
  std::string prefix_;
};

void check_layers(const Keys& keys, const Gguf& file, std::int64_t layers) {
  const auto tensors = static_cast<std::int64_t>(file.tensors().size());
  if (tensors > 0 && layers > tensors) {
    keys.refuse("block_count", fmt::format("at most {}, the number of tensors", tensors));
  }
}

/// How many key-value heads there are must divide the heads, in every layer.
void read_heads(const Keys& keys, GgufArchitecture& result) {
  const std::vector<std::int64_t> heads = keys.sizes("attention.head_count");
  const std::vector<std::int64_t> kv_heads = keys.sizes("attention.head_count_kv");
  for (std::size_t i = 0; i < std::max(heads.size(), kv_heads.size()) && !heads.empty() && !kv_heads.empty(); ++i) {
    const std::int64_t all = heads[std::min(i, heads.size() - 1)];
    const std::int64_t some = kv_heads[std::min(i, kv_heads.size() - 1)];
    if (some > 0 && all % some != 0) keys.refuse("attention.head_count_kv", fmt::format("a divisor of {}", all));
  }
  result.heads = heads.empty() ? 0 : heads.front();
  result.kv_heads = kv_heads.empty() ? result.heads : kv_heads.front();
}

void read_head_size(const Keys& keys, GgufArchitecture& result) {
  result.d_head = keys.size("attention.key_length");
  if (result.d_head == 0 && result.heads > 0) {
    if (result.d_model % result.heads != 0) {
      keys.refuse("attention.head_count", fmt::format("a divisor of {}, the embedding_length", result.d_model));
    }
    result.d_head = result.d_model / result.heads;
  }
  const std::int64_t turned = keys.size("rope.dimension_count");
  if (turned > 0 && (turned % 2 != 0 || (result.d_head > 0 && turned > result.d_head))) {
    keys.refuse("rope.dimension_count", fmt::format("an even number up to {}, the size of a head", result.d_head));
  }
  if (turned == 0 && result.rotary_base && result.d_head % 2 != 0) {
    keys.refuse("attention.head_count",
                fmt::format("heads of an even size for rotary positions (now {})", result.d_head));
  }
}

void check_embedding(const Keys& keys, const Gguf& file, std::int64_t d_model) {
  if (d_model == 0 || !file.tensors().contains(embedding)) return;
  const Shape& shape = file.tensor(embedding).shape;
  if (shape.rank() != 2 || shape[1] != d_model) {
    keys.refuse("embedding_length", fmt::format("the width of \"{}\" {}", embedding, shape));
  }
}

void check_length(const Gguf& file, std::string_view key, std::size_t length, std::size_t tokens) {
  if (length != tokens) file.refuse(key, fmt::format("one a token, {}", tokens));
}

void check_tokens(const Gguf& file, std::string_view key, const std::vector<std::string_view>& tokens) {
  std::unordered_map<std::string_view, std::size_t> seen;
  seen.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    require(token.size() <= max_token_bytes,
            "{}: key \"{}\": expected tokens of at most {} bytes, found one of {} (id {})", file.file(), key,
            max_token_bytes, token.size(), id);
    if (token.empty()) continue;  // some published vocabularies have holes
    const auto [first, is_new] = seen.emplace(token, id);
    require(is_new, "{}: key \"{}\": the token \"{}\" is given twice, as {} and {}", file.file(), key, printable(token),
            first->second, id);
  }
}

void check_special_tokens(const Gguf& file, std::size_t tokens) {
  for (const auto& [key, value] : file.metadata()) {
    if (key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id") && !value.length) {
      file.integer(key, 0, static_cast<std::int64_t>(tokens) - 1);
    }
  }
}

}  // namespace

GgufArchitecture read_architecture(const Gguf& file) {
  const Keys keys(file);
  GgufArchitecture result;
  result.name = keys.architecture();
  result.layers = keys.size("block_count", max_layers);
  result.context = keys.size("context_length", max_positions);
  result.d_model = keys.size("embedding_length");
  result.norm_epsilon = keys.number("attention.layer_norm_rms_epsilon", 0, 1);
  if (!result.norm_epsilon) result.norm_epsilon = keys.number("attention.layer_norm_epsilon", 0, 1);
  result.rotary_base = keys.number("rope.freq_base", 1, max_rotary_base);
  check_layers(keys, file, result.layers);
  read_heads(keys, result);
  read_head_size(keys, result);
  check_embedding(keys, file, result.d_model);
  return result;
}

std::optional<GgufVocabulary> read_vocabulary(const Gguf& file) {
  constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
  constexpr std::string_view scores_key = "tokenizer.ggml.scores";
  constexpr std::string_view types_key = "tokenizer.ggml.token_type";
  constexpr std::string_view merges_key = "tokenizer.ggml.merges";
  if (!file.contains(tokens_key)) return {};
  GgufVocabulary result;
  result.model = file.text("tokenizer.ggml.model");
  result.tokens = file.texts(tokens_key);
  if (result.tokens.empty()) file.refuse(tokens_key, "at least one token");
  if (file.tensors().contains(embedding)) {
    const Shape& shape = file.tensor(embedding).shape;
    const auto rows = static_cast<std::size_t>(shape.rank() == 2 ? shape[0] : 0);
    if (rows != result.tokens.size()) file.refuse(tokens_key, fmt::format("{}, as \"{}\" has rows", rows, embedding));
  }
  check_tokens(file, tokens_key, result.tokens);
  if (file.contains(scores_key)) {
    result.scores = file.numbers(scores_key);
    check_length(file, scores_key, result.scores.size(), result.tokens.size());
    if (!std::ranges::all_of(result.scores, [](double s) { return std::isfinite(s); })) {
      file.refuse(scores_key, "finite scores");
    }
  }
  if (file.contains(types_key)) {
    result.types = file.integers(types_key);
    check_length(file, types_key, result.types.size(), result.tokens.size());
  }
  if (file.contains(merges_key)) result.merges = file.texts(merges_key);
  check_special_tokens(file, result.tokens.size());
  return result;
}

}  // namespace rapt
