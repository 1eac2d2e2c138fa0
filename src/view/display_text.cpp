#include "view/display_text.h"

#include <fmt/core.h>
#include <utf8proc.h>

namespace rapt::view {
namespace {

constexpr std::string_view replacement_character = "\uFFFD";

bool is_noncharacter(utf8proc_int32_t code) {
  return (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
}

bool is_joiner(utf8proc_int32_t code) {
  return code == 0x200C || code == 0x200D;
}

bool is_hidden(utf8proc_int32_t code) {
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return !is_joiner(code);
    default:
      return is_noncharacter(code);
  }
}

std::string encoded(utf8proc_int32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto length = static_cast<std::size_t>(utf8proc_encode_char(code, bytes));
  return {reinterpret_cast<const char*>(bytes), length};
}

std::string spelled_out(utf8proc_int32_t code) {
  if (code == '\n') return "\u21B5";  // more fonts have it than its control picture
  if (code < 0x20) return encoded(0x2400 + code);
  if (code == 0x7F) return encoded(0x2421);
  return fmt::format("[U+{:04X}]", code);
}

}  // namespace

std::string display_text(std::string_view text, std::size_t limit) {
  std::string shown;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::size_t position = 0;
  for (std::size_t count = 0; position < text.size(); ++count) {
    if (count == limit) return shown + fmt::format("\u2026 (+{} bytes)", text.size() - position);
    utf8proc_int32_t code = 0;
    const auto length =
        utf8proc_iterate(bytes + position, static_cast<utf8proc_ssize_t>(text.size() - position), &code);
    if (length <= 0) {
      shown += replacement_character;
      ++position;
      continue;
    }
    if (is_hidden(code)) {
      shown += spelled_out(code);
    } else {
      shown += text.substr(position, static_cast<std::size_t>(length));
    }
    position += static_cast<std::size_t>(length);
  }
  return shown;
}

std::string html_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string script_json(const nlohmann::json& value) {
  constexpr int compact = -1;
  constexpr bool ascii = true;
  std::string escaped;
  for (const char c : value.dump(compact, ' ', ascii)) {
    if (c == '<' || c == '>' || c == '&') {
      escaped += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace rapt::view
