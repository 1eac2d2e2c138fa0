/// Templates as tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rapt::jinja {

struct Token {
  enum class Kind { text, print_begin, print_end, block_begin, block_end, name, string, integer, real, sign, end };
  Kind kind = Kind::end;
  std::string text;
  int line = 1;
};

/// The tokens of a template, with the white space removed that trim_blocks, lstrip_blocks and the signs "-" and "+"
/// inside of tags remove, as Jinja does. Throws Error naming the line.
std::vector<Token> tokenize(std::string_view source);

}  // namespace rapt::jinja
