#include "text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"

namespace rapt {
namespace {

/// What a lead byte promises: how many bytes follow, and between which bounds the first of them must lie. The bounds
/// exclude overlong forms, surrogates and code points above U+10FFFF.
struct Lead {
  std::size_t following = 0;  // 0: not a lead byte
  unsigned low = 0x80;
  unsigned high = 0xBF;
};

Lead lead_of(unsigned byte) {
  if (byte < 0xC2 || byte > 0xF4) return {};
  if (byte < 0xE0) return {.following = 1};
  if (byte < 0xF0) return {.following = 2, .low = byte == 0xE0 ? 0xA0u : 0x80u, .high = byte == 0xED ? 0x9Fu : 0xBFu};
  return {.following = 3, .low = byte == 0xF0 ? 0x90u : 0x80u, .high = byte == 0xF4 ? 0x8Fu : 0xBFu};
}

unsigned byte_at(std::string_view text, std::size_t position) {
  return static_cast<unsigned char>(text[position]);
}

/// The end of the ASCII run that begins at `position`, looked at eight bytes at a time.
std::size_t skip_ascii(std::string_view text, std::size_t position) {
  std::uint64_t word;
  while (position + sizeof word <= text.size()) {
    std::memcpy(&word, text.data() + position, sizeof word);
    if (word & 0x8080808080808080ull) break;
    position += sizeof word;
  }
  while (position < text.size() && byte_at(text, position) < 0x80) ++position;
  return position;
}

}  // namespace

Utf8Step utf8_step(std::string_view text, std::size_t position) {
  const unsigned first = byte_at(text, position);
  if (first < 0x80) return {.code_point = first, .length = 1, .valid = true};
  const Lead lead = lead_of(first);
  if (lead.following == 0) return {};
  char32_t code_point = first & (0x3Fu >> lead.following);
  for (std::size_t i = 1; i <= lead.following; ++i) {
    if (position + i == text.size()) return {.length = i, .truncated = true};
    const unsigned byte = byte_at(text, position + i);
    const bool first_following = i == 1;
    if (byte < (first_following ? lead.low : 0x80u) || byte > (first_following ? lead.high : 0xBFu)) {
      return {.length = i};
    }
    code_point = code_point << 6 | (byte & 0x3Fu);
  }
  return {.code_point = code_point, .length = lead.following + 1, .valid = true};
}

std::size_t first_invalid_utf8(std::string_view text) {
  for (std::size_t position = skip_ascii(text, 0); position < text.size(); position = skip_ascii(text, position)) {
    const Utf8Step step = utf8_step(text, position);
    if (!step.valid) return position;
    position += step.length;
  }
  return std::string_view::npos;
}

void require_utf8(std::string_view text, std::string_view what) {
  const std::size_t invalid = first_invalid_utf8(text);
  require(invalid == std::string_view::npos, "{} is not valid UTF-8 at byte {}; convert it to UTF-8 first", what,
          invalid);
}

std::size_t complete_utf8_prefix(std::string_view text) {
  constexpr std::size_t longest_beginning = 3;
  for (std::size_t back = 1; back <= std::min(longest_beginning, text.size()); ++back) {
    const std::size_t position = text.size() - back;
    if (utf8_step(text, position).truncated) return position;
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    append_utf8(result, step.code_point);
    position += step.length;
  }
  return result;
}

std::u32string to_code_points(std::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const Utf8Step step = utf8_step(text, position);
    result.push_back(step.code_point);
    position += step.length;
  }
  return result;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto following = [&](int shift) { text.push_back(static_cast<char>(0x80 | (code_point >> shift & 0x3F))); };
  if (code_point < 0x80) {
    text.push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    text.push_back(static_cast<char>(0xC0 | code_point >> 6));
    following(0);
  } else if (code_point < 0x10000) {
    text.push_back(static_cast<char>(0xE0 | code_point >> 12));
    following(6);
    following(0);
  } else {
    text.push_back(static_cast<char>(0xF0 | code_point >> 18));
    following(12);
    following(6);
    following(0);
  }
}

std::string to_utf8(std::u32string_view code_points) {
  std::string result;
  result.reserve(code_points.size());
  for (const char32_t code_point : code_points) append_utf8(result, code_point);
  return result;
}

}  // namespace rapt
