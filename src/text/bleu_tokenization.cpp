#include "text/bleu_tokenization.h"

#include <fmt/core.h>

#include <array>
#include <utility>

#include "core/error.h"
#include "text/replace.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::array<std::pair<std::string_view, BleuTokenization>, 4> kNames{{{"13a", BleuTokenization::v13a},
                                                                               {"none", BleuTokenization::none},
                                                                               {"intl", BleuTokenization::intl},
                                                                               {"char", BleuTokenization::character}}};

/// Puts spaces around every symbol of a kind.
template <typename Text, typename Kind>
Text set_apart(const Text& text, Kind kind) {
  Text result;
  result.reserve(text.size() * 2);
  for (const auto symbol : text) {
    if (kind(symbol)) {
      result += ' ';
      result += symbol;
      result += ' ';
    } else {
      result += symbol;
    }
  }
  return result;
}

enum class Outside { before, after };

/// Puts a space between two neighbours of the given kinds, and one outside them. Pairs do not overlap: the search goes
/// on behind the pair found, as that of a regular expression.
template <typename Text, typename First, typename Second>
Text split_pairs(const Text& text, First first, Second second, Outside outside) {
  Text result;
  result.reserve(text.size() * 2);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !first(text[i]) || !second(text[i + 1])) {
      result += text[i];
      continue;
    }
    if (outside == Outside::before) result += ' ';
    result += text[i];
    result += ' ';
    result += text[++i];
    if (outside == Outside::after) result += ' ';
  }
  return result;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_point_or_comma(char c) {
  return c == '.' || c == ',';
}
/// ASCII punctuation but apostrophe, comma, hyphen and full stop.
bool is_13a_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::string unescape(std::string_view segment) {
  std::string text = replace_all(segment, "<skipped>", "");
  text = replace_all(text, "-\n", "");
  text = replace_all(text, "\n", " ");
  text = replace_all(text, "&quot;", "\"");
  text = replace_all(text, "&amp;", "&");
  text = replace_all(text, "&lt;", "<");
  return replace_all(text, "&gt;", ">");
}

/// mteval-v13a. All it looks for is ASCII, so it can look at bytes: those of other characters are neither digits nor
/// punctuation.
std::string tokenize_13a(std::string_view segment) {
  const auto not_digit = [](char c) { return !is_digit(c); };
  const auto hyphen = [](char c) { return c == '-'; };
  std::string text = set_apart(fmt::format(" {} ", unescape(segment)), is_13a_symbol);
  text = split_pairs(text, not_digit, is_point_or_comma, Outside::after);
  text = split_pairs(text, is_point_or_comma, not_digit, Outside::before);
  return split_pairs(text, is_digit, hyphen, Outside::after);
}

std::string tokenize_intl(std::string_view segment) {
  const auto not_number = [](char32_t c) { return !is_number(c); };
  std::u32string text = split_pairs(to_code_points(segment), not_number, is_punctuation, Outside::after);
  text = split_pairs(text, is_punctuation, not_number, Outside::before);
  return to_utf8(set_apart(text, is_symbol));
}

std::string tokenize_characters(std::string_view segment) {
  return to_utf8(set_apart(to_code_points(segment), [](char32_t) { return true; }));
}

}  // namespace

std::string_view name_of(BleuTokenization tokenization) {
  for (const auto& [name, value] : kNames) {
    if (value == tokenization) return name;
  }
  fail("no BLEU tokenisation has the number {}", static_cast<int>(tokenization));
}

BleuTokenization bleu_tokenization(std::string_view name) {
  for (const auto& [known, value] : kNames) {
    if (known == name) return value;
  }
  fail("\"{}\" is no tokenisation for BLEU; there are 13a, none, intl and char", name);
}

std::string tokenize_for_bleu(std::string_view segment, BleuTokenization tokenization) {
  switch (tokenization) {
    case BleuTokenization::v13a:
      return tokenize_13a(segment);
    case BleuTokenization::intl:
      return tokenize_intl(segment);
    case BleuTokenization::character:
      return tokenize_characters(segment);
    case BleuTokenization::none:
      break;
  }
  return std::string(segment);
}

}  // namespace rapt
