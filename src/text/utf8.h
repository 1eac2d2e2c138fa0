/// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rapt {

/// Stands for what cannot be decoded.
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

/// What stands at one place of a text.
struct Utf8Step {
  char32_t code_point = kReplacementCharacter;  ///< U+FFFD if the bytes are invalid
  std::size_t length = 1;                       ///< bytes to move on by, at least 1
  bool valid = false;
  bool truncated = false;  ///< invalid only because the text ends too early
};

/// Decodes the code point that begins at byte `position` < text.size(). Of an invalid sequence the step covers the
/// longest part that could have begun a valid one, as Unicode recommends (The Unicode Standard, 3.9, "U+FFFD
/// Substitution of Maximal Subparts"); this is also what Python, ICU and the web do.
Utf8Step utf8_step(std::string_view text, std::size_t position);

/// Where the character that holds byte `position` begins, in valid UTF-8.
inline std::size_t character_begin(std::string_view text, std::size_t position) {
  while (position > 0 && (text[position] & 0xC0) == 0x80) --position;
  return position;
}

/// Byte offset of the first invalid sequence; npos if the text is valid.
std::size_t first_invalid_utf8(std::string_view text);

/// Throws Error, naming `what` and the byte offset, unless the text is valid.
void require_utf8(std::string_view text, std::string_view what);

/// How many bytes of `text` are whole: all, or all but the beginning of a code point whose other bytes are still to
/// come. A stream sends this much and keeps the rest until the next piece arrives.
std::size_t complete_utf8_prefix(std::string_view text);

/// The text with U+FFFD in place of each invalid sequence.
std::string replace_invalid_utf8(std::string_view text);

/// The code points of a text, U+FFFD in place of each invalid sequence.
std::u32string to_code_points(std::string_view text);

/// Appends a code point (not a surrogate, at most U+10FFFF).
void append_utf8(std::string& text, char32_t code_point);

/// The UTF-8 form of some code points.
std::string to_utf8(std::u32string_view code_points);

}  // namespace rapt
