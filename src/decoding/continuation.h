/// The text that follows a prompt, as its tokens come.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "decoding/stop_strings.h"
#include "text/tokenizer.h"

namespace rapt::decoding {

/// Turns tokens into text. The prompt's tokens are decoded with them, because what a token stands for depends on
/// whether it is the first.
class Continuation {
 public:
  /// `stop` ends the text before it. The tokenizer must outlive this.
  Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt, std::vector<std::string> stop = {});

  /// Takes the next token; gives the text that nothing which follows can change: whole characters, maybe none.
  std::string add(std::int32_t token);
  /// The rest of the text.
  std::string finish();
  /// Whether a stop string came.
  bool stopped() const { return stop_.found(); }

 private:
  std::string_view behind_prompt(std::string_view text);

  std::unique_ptr<TextStream> stream_;
  std::string prompt_;
  std::size_t seen_ = 0;  // bytes of the prompt that have come
  StopStrings stop_;
};

}  // namespace rapt::decoding
