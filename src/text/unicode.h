/// Properties of characters, letter case and normalisation, by the Unicode tables of utf8proc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rapt {

/// The same set as Python's str.isspace: what separates words for the metrics and is stripped from decoded text.
bool is_whitespace(char32_t code_point);
/// Unicode's property White_Space: the same without the separators U+001C to U+001F.
bool is_white_space(char32_t code_point);
/// General categories P*, S* and N*.
bool is_punctuation(char32_t code_point);
bool is_symbol(char32_t code_point);
bool is_number(char32_t code_point);
/// General categories M*, and Mn alone.
bool is_mark(char32_t code_point);
bool is_nonspacing_mark(char32_t code_point);
/// Categories Cc, Cf and Co.
bool is_control(char32_t code_point);
/// Whether a grapheme cluster ends between two characters, as far as these tell (Unicode Standard Annex 29).
bool breaks_cluster(char32_t before, char32_t after);
/// What regular expressions call \w (Unicode Technical Standard 18, annex C).
bool is_word_character(char32_t code_point);

/// Properties that patterns ask for, as bits.
enum CharacterClass : unsigned {
  kUpperLetter = 1,   // Lu, Lt
  kLowerLetter = 2,   // Ll
  kOtherLetter = 4,   // Lm, Lo
  kLetter = 7,        // L*
  kMark = 8,          // M*
  kNumber = 16,       // N*
  kPunctuation = 32,  // P*
  kSymbol = 64,       // S*
  kWhiteSpace = 128,
  kLineEnd = 256,  // U+000A, U+000D
};
unsigned classes_of(char32_t code_point);

/// The words of a text, separated by whitespace; views into `text`, which must be valid UTF-8.
std::vector<std::string_view> split_words(std::string_view text);
/// The text without whitespace at its end, or at both ends; `text` must be valid UTF-8.
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);

/// Full lower case, with the two context rules of Unicode's SpecialCasing that depend on no language: capital sigma at
/// the end of a word, and capital I with dot above. Equal to Python's str.lower. `text` must be valid UTF-8.
std::string to_lower(std::string_view text);
/// Full lower case of each character for itself: every capital sigma becomes the same letter.
std::string to_lower_each(std::string_view text);
/// Upper case of each character for itself: Unicode's simple mapping, and SS for sharp s.
std::string to_upper(std::string_view text);

enum class NormalizationForm { nfc, nfd, nfkc, nfkd };

/// The text in a Unicode normalisation form (Unicode Standard Annex 15), in time n log n; `text` must be valid UTF-8.
std::string normalize(std::string_view text, NormalizationForm form);

}  // namespace rapt
