#include "decoding/continuation.h"

#include <algorithm>

#include "text/utf8.h"

namespace rapt::decoding {

Continuation::Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                           std::vector<std::string> stop)
    : stream_(tokenizer.stream()), prompt_(tokenizer.decode(prompt)), stop_(std::move(stop)) {
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
  const std::string_view left = std::string_view(prompt_).substr(seen_);
  auto of_prompt = static_cast<std::size_t>(std::ranges::mismatch(text, left).in1 - text.begin());
  if (of_prompt == text.size() || of_prompt == left.size()) {
    seen_ += of_prompt;
    return text.substr(of_prompt);
  }
  // The prompt ends within a character, which stands here as a whole and in the prompt's own text as U+FFFD.
  seen_ = prompt_.size();
  return text.substr(character_begin(text, of_prompt));
}

}  // namespace rapt::decoding
