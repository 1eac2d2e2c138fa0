#pragma once

#include <string>

namespace rapt {

/// Two lists of rules that differ by one: transformers' clean_up_tokenization, and that of WordPiece decoders in the
/// tokenizers library, which also turns " do not" into " don't".
enum class CleanUp { transformers, word_piece };

/// English punctuation and contractions lose the space before them.
std::string clean_up_spaces(std::string text, CleanUp rules = CleanUp::transformers);

}  // namespace rapt
