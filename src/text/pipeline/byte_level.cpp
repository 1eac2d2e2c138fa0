#include "text/pipeline/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace rapt {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, 0x200> bytes;  // by code point, -1: none
};

bool is_printable(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

const Alphabet& alphabet() {
  static const Alphabet made = [] {
    Alphabet result;
    result.bytes.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char32_t character = is_printable(byte) ? byte : next++;
      append_utf8(result.characters[byte], character);
      result.bytes[character] = static_cast<int>(byte);
    }
    return result;
  }();
  return made;
}

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  const Alphabet& table = alphabet();
  std::string result;
  result.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) result += table.characters[static_cast<unsigned char>(byte)];
  return result;
}

std::optional<std::string> characters_to_bytes(std::string_view piece) {
  const Alphabet& table = alphabet();
  std::string result;
  result.reserve(piece.size());
  for (std::size_t position = 0; position < piece.size();) {
    const Utf8Step step = utf8_step(piece, position);
    if (step.code_point >= table.bytes.size() || table.bytes[step.code_point] < 0) return std::nullopt;
    result.push_back(static_cast<char>(table.bytes[step.code_point]));
    position += step.length;
  }
  return result;
}

}  // namespace rapt
