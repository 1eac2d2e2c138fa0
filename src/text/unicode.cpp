#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

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
             between(code_point, 0x24B6, 0x24E9) || between(code_point, 0x1F130, 0x1F149) ||
             between(code_point, 0x1F150, 0x1F169) || between(code_point, 0x1F170, 0x1F189);
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

}  // namespace

bool is_whitespace(char32_t code_point) {
  if (code_point < 0x80) return between(code_point, 0x09, 0x0D) || between(code_point, 0x1C, 0x20);
  return code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 || between(code_point, 0x2000, 0x200A) ||
         code_point == 0x2028 || code_point == 0x2029 || code_point == 0x202F || code_point == 0x205F ||
         code_point == 0x3000;
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
    std::size_t position = end - 1;
    while (position > 0 && (text[position] & 0xC0) == 0x80) --position;
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
  constexpr char32_t capital_sigma = 0x3A3, sigma = 0x3C3, final_sigma = 0x3C2;
  constexpr char32_t capital_dotted_i = 0x130, combining_dot_above = 0x307;
  const std::u32string code_points = to_code_points(text);
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < code_points.size(); ++i) {
    const char32_t code_point = code_points[i];
    if (code_point == capital_sigma) {
      append_utf8(result, is_final_sigma(code_points, i) ? final_sigma : sigma);
    } else if (code_point == capital_dotted_i) {
      append_utf8(result, U'i');
      append_utf8(result, combining_dot_above);
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))));
    }
  }
  return result;
}

std::string normalize(std::string_view text, NormalizationForm form) {
  const bool compose = form == NormalizationForm::nfc || form == NormalizationForm::nfkc;
  const bool compatible = form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  const int options =
      UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  require(length >= 0, "text cannot be normalised: {}", utf8proc_errmsg(length));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  return {reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length)};
}

}  // namespace rapt
