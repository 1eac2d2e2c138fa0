#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "text/utf8.h"

namespace rapt {
namespace {

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

bool between(char32_t code_point, char32_t first, char32_t last) {
  return code_point >= first && code_point <= last;
}

/// Letters in circles and squares: symbols that are Alphabetic.
bool is_enclosed_letter(char32_t code_point) {
  return between(code_point, 0x24B6, 0x24E9) || between(code_point, 0x1F130, 0x1F149) ||
         between(code_point, 0x1F150, 0x1F169) || between(code_point, 0x1F170, 0x1F189);
}

/// Unicode's Case_Ignorable: marks, formats, modifiers, and the punctuation that stands inside words.
bool is_case_ignorable(char32_t code_point) {
  static constexpr char32_t inside_words[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                              0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return std::find(std::begin(inside_words), std::end(inside_words), code_point) != std::end(inside_words);
  }
}

/// Unicode's Cased, for characters that are not Case_Ignorable.
bool is_cased(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
      return true;
    default:
      return code_point == 0xAA || code_point == 0xBA || between(code_point, 0x2160, 0x217F) ||
             is_enclosed_letter(code_point);
  }
}

/// Whether the capital sigma at `position` ends a word: a cased letter before it, none after it, whatever is ignorable
/// aside.
bool is_final_sigma(std::u32string_view text, std::size_t position) {
  const std::u32string_view before = text.substr(0, position);
  const auto previous = std::find_if_not(before.rbegin(), before.rend(), is_case_ignorable);
  if (previous == before.rend() || !is_cased(*previous)) return false;
  const std::u32string_view after = text.substr(position + 1);
  const auto next = std::find_if_not(after.begin(), after.end(), is_case_ignorable);
  return next == after.end() || !is_cased(*next);
}

void append_lower(std::string& text, char32_t code_point) {
  constexpr char32_t capital_dotted_i = 0x130, combining_dot_above = 0x307;
  if (code_point == capital_dotted_i) {
    append_utf8(text, U'i');
    append_utf8(text, combining_dot_above);
  } else {
    append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))));
  }
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
}

/// The characters of a text taken apart, marks not yet in order.
std::vector<utf8proc_int32_t> decompose(std::string_view text, bool compatible) {
  constexpr std::size_t longest = 18;  // characters that one is taken apart into
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    const std::size_t filled = result.size();
    result.resize(filled + longest);
    int last_boundary = 0;
    const utf8proc_ssize_t written =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code_point), result.data() + filled, longest,
                                static_cast<utf8proc_option_t>(options), &last_boundary);
    require(written >= 0, "text cannot be normalised: {}", utf8proc_errmsg(written));
    result.resize(filled + static_cast<std::size_t>(written));
    position += step.length;
  }
  return result;
}

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

/// Puts the marks after each character into canonical order. (utf8proc exchanges neighbours, which takes time quadratic
/// in the number of marks.)
void sort_marks(std::vector<utf8proc_int32_t>& points) {
  const auto is_starter = [](utf8proc_int32_t point) { return combining_class(point) == 0; };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if_not(begin, points.end(), is_starter);
    const auto end = std::find_if(begin, points.end(), is_starter);
    std::ranges::stable_sort(begin, end, {}, combining_class);
    begin = end;
  }
}

}  // namespace

bool is_whitespace(char32_t code_point) {
  if (code_point < 0x80) return between(code_point, 0x09, 0x0D) || between(code_point, 0x1C, 0x20);
  return code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 || between(code_point, 0x2000, 0x200A) ||
         code_point == 0x2028 || code_point == 0x2029 || code_point == 0x202F || code_point == 0x205F ||
         code_point == 0x3000;
}

bool is_white_space(char32_t code_point) {
  return is_whitespace(code_point) && !between(code_point, 0x1C, 0x1F);
}

bool is_punctuation(char32_t code_point) {
  const auto c = category(code_point);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_symbol(char32_t code_point) {
  const auto c = category(code_point);
  return c >= UTF8PROC_CATEGORY_SM && c <= UTF8PROC_CATEGORY_SO;
}

bool is_number(char32_t code_point) {
  const auto c = category(code_point);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_mark(char32_t code_point) {
  const auto c = category(code_point);
  return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(char32_t code_point) {
  return category(code_point) == UTF8PROC_CATEGORY_MN;
}

bool is_control(char32_t code_point) {
  const auto c = category(code_point);
  return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO;
}

bool is_word_character(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  const bool joins = code_point == 0x200C || code_point == 0x200D;
  return (classes_of(code_point) & (kLetter | kMark)) != 0 || joins || is_enclosed_letter(code_point);
}

unsigned classes_of(char32_t code_point) {
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kUpperLetter;
    case UTF8PROC_CATEGORY_LL:
      return kLowerLetter;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kOtherLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    default:
      break;
  }
  if (is_punctuation(code_point)) return kPunctuation;
  if (is_symbol(code_point)) return kSymbol;
  if (code_point == '\n' || code_point == '\r') return kWhiteSpace | kLineEnd;
  return is_white_space(code_point) ? unsigned{kWhiteSpace} : 0u;
}

bool breaks_cluster(char32_t before, char32_t after) {
  return utf8proc_grapheme_break(static_cast<utf8proc_int32_t>(before), static_cast<utf8proc_int32_t>(after));
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    if (is_whitespace(step.code_point)) {
      if (position > begin) words.push_back(text.substr(begin, position - begin));
      begin = position + step.length;
    }
    position += step.length;
  }
  if (text.size() > begin) words.push_back(text.substr(begin));
  return words;
}

std::string_view strip_right(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t position = character_begin(text, end - 1);
    if (!is_whitespace(utf8_step(text, position).code_point)) break;
    end = position;
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const Utf8Step step = utf8_step(text, begin);
    if (!is_whitespace(step.code_point)) break;
    begin += step.length;
  }
  return strip_right(text.substr(begin));
}

std::string to_lower(std::string_view text) {
  constexpr char32_t capital_sigma = 0x3A3, final_sigma = 0x3C2;
  const std::u32string code_points = to_code_points(text);
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < code_points.size(); ++i) {
    if (code_points[i] == capital_sigma && is_final_sigma(code_points, i)) {
      append_utf8(result, final_sigma);
    } else {
      append_lower(result, code_points[i]);
    }
  }
  return result;
}

std::string to_lower_each(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char32_t code_point : to_code_points(text)) append_lower(result, code_point);
  return result;
}

std::string to_upper(std::string_view text) {
  constexpr char32_t sharp_s = 0xDF;
  std::string result;
  result.reserve(text.size());
  for (const char32_t code_point : to_code_points(text)) {
    if (code_point == sharp_s) {
      result += "SS";
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code_point))));
    }
  }
  return result;
}

std::string normalize(std::string_view text, NormalizationForm form) {
  if (is_ascii(text)) return std::string(text);
  const bool compose = form == NormalizationForm::nfc || form == NormalizationForm::nfkc;
  const bool compatible = form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  std::vector<utf8proc_int32_t> points = decompose(text, compatible);
  sort_marks(points);
  auto length = static_cast<utf8proc_ssize_t>(points.size());
  if (compose) {
    const int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    length = utf8proc_normalize_utf32(points.data(), length, static_cast<utf8proc_option_t>(options));
    require(length >= 0, "text cannot be normalised: {}", utf8proc_errmsg(length));
  }
  std::string result;
  result.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    append_utf8(result, static_cast<char32_t>(points[static_cast<std::size_t>(i)]));
  }
  return result;
}

}  // namespace rapt
