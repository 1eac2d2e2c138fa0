#pragma once

#include <string>
#include <string_view>

namespace rapt {

/// The text with `to` in place of each `from` (not empty), looked for from left to right without overlap.
inline std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  std::size_t position = 0;
  for (std::size_t found; (found = text.find(from, position)) != text.npos; position = found + from.size()) {
    result += text.substr(position, found - position);
    result += to;
  }
  result += text.substr(position);
  return result;
}

}  // namespace rapt
