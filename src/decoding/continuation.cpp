#include "decoding/continuation.h"

#include <algorithm>

namespace rapt::decoding {

Continuation::Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                           std::vector<std::string> stop)
    : stream_(tokenizer.stream()), prompt_left_(tokenizer.decode(prompt).size()), stop_(std::move(stop)) {
  for (const std::int32_t token : prompt) behind_prompt(stream_->add(token));
}

std::string Continuation::add(std::int32_t token) {
  return stop_.add(behind_prompt(stream_->add(token)));
}

std::string Continuation::finish() {
  std::string text = stop_.add(behind_prompt(stream_->finish()));
  return text += stop_.finish();
}

std::string_view Continuation::behind_prompt(std::string_view text) {
  const std::size_t of_prompt = std::min(text.size(), prompt_left_);
  prompt_left_ -= of_prompt;
  return text.substr(of_prompt);
}

}  // namespace rapt::decoding
