/// Words as a person sees them, and which tokens belong to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace rapt {

/// Bytes [begin, end) of a text.
struct TextSpan {
  std::size_t begin = 0;
  std::size_t end = 0;

  bool empty() const { return begin == end; }
  bool operator==(const TextSpan&) const = default;
};

/// The words of a text: the longest runs, not begun by a mark, of letters, marks, digits and connectors (\w of Unicode
/// Technical Standard 18), with the apostrophes inside of them. `text` must be valid UTF-8.
std::vector<TextSpan> find_words(std::string_view text);

/// The bytes of `text` that each of its tokens stands for; empty for special tokens and for spaces alone. `ids` must be
/// what the tokenizer gives for the text.
///
/// Normalisation changes letters and spaces, and token models keep no places. So the letters of the tokens and those of
/// the text are compared, without case, accents and compatibility forms, which is what published normalisations change;
/// where nothing else differs, the result is exact. Tokens for what is unknown stand for any letters: there, and where
/// letters differ, the two are aligned with the fewest edits.
std::vector<TextSpan> token_spans(const Tokenizer& tokenizer, std::span<const std::int32_t> ids, std::string_view text);

/// For each word the places of the tokens that stand for some of it. Neither words nor spans of tokens go back.
std::vector<std::vector<std::int32_t>> tokens_of_words(std::span<const TextSpan> words,
                                                       std::span<const TextSpan> spans);

}  // namespace rapt
