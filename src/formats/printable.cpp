#include "formats/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace rapt {
namespace {

unsigned byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  ///< 0: not UTF-8
};

CodePoint decode(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t value = lead & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte_at(text, i) & 0xc0u) != 0x80u) return {};
    value = value << 6 | (byte_at(text, i) & 0x3fu);
  }
  constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < smallest[bytes] || value > 0x10ffff || surrogate) return {};
  return {value, bytes};
}

/// Characters that move the cursor, start an escape sequence, end the line or turn the direction of writing.
bool is_control(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

Printable::operator std::string() const {
  std::string result;
  std::string_view text = text_;
  while (!text.empty()) {
    if (result.size() >= limit_) return result + "...";
    const CodePoint c = decode(text);
    const std::size_t bytes = c.bytes == 0 ? 1 : c.bytes;
    if (c.bytes == 0 || is_control(c.value)) {
      for (std::size_t i = 0; i < bytes; ++i) result += fmt::format("\\x{:02x}", byte_at(text, i));
    } else {
      result += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return result;
}

std::string shown(const std::filesystem::path& path) {
  return printable(path.native(), 400);
}

}  // namespace rapt

fmt::format_context::iterator fmt::formatter<rapt::Printable>::format(const rapt::Printable& text,
                                                                      fmt::format_context& context) {
  return fmt::format_to(context.out(), "{}", static_cast<std::string>(text));
}
