/// What filters, tests, methods and operators ask of their operands, and what more than one of them does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/template/builtins.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt::jinja {

/// The text of an operand that must be a string; `what` it is, for the message.
const std::string& text_of(const Value& value, std::string_view what);
std::int64_t integer_of(const Value& value, std::string_view what);
/// A result, which the budget pays for.
Value made(std::string text, Budget& budget);
Value made(List list, Budget& budget);

bool is_sized(const Value& value);
/// Characters, items or keys.
std::size_t length_of(const Value& value);
/// The text with HTML's signs escaped, unless that was done.
std::string escape_html(const Value& text);

/// "keys", "values" or "items".
List dict_list(const Dict& dict, std::string_view name);

/// Python's strip(), lstrip() and rstrip(), of white space or of the characters in a set.
std::string strip_text(std::string_view text, const Value* set, bool left, bool right);

/// Each character that follows one for which `begins` holds in upper case, as the first one, the others in lower case.
template <typename Begins>
std::string capitalize(std::string_view text, Begins begins) {
  std::string result;
  bool at_beginning = true;
  for (const char32_t c : to_code_points(text)) {
    const std::string letter = to_utf8({&c, 1});
    result += at_beginning ? to_upper(letter) : to_lower_each(letter);
    at_beginning = begins(c);
  }
  return result;
}

inline std::string capitalize_first(std::string_view text) {
  return capitalize(text, [](char32_t) { return false; });
}

}  // namespace rapt::jinja
