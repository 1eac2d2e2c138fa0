/// Reading expressions such as "causal & window(511, 0)", with errors that say where they stop making sense.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "rapt/visibility.h"

namespace rapt::attention {

/// A text read from left to right. Spaces between words and symbols mean nothing. The text must outlive the reader.
class ExpressionReader {
 public:
  /// `what` begins the messages: "visibility".
  ExpressionReader(std::string_view what, std::string_view text) : what_(what), text_(text) {}

  bool at_end();
  /// Takes `symbol` if it comes next.
  bool take(char symbol);
  /// Takes `word` if it is the next word.
  bool take_word(std::string_view word);
  /// The next word, of letters, digits and underscores; "" if none comes next.
  std::string_view word();
  /// A number without sign.
  std::uint64_t number(std::uint64_t largest = std::numeric_limits<std::int32_t>::max());
  std::int32_t integer() { return static_cast<std::int32_t>(number()); }
  /// "(a, b, ...)": the places of the arguments, none where there are no parentheses. Goes behind them.
  std::vector<std::size_t> arguments();

  std::size_t place() const { return place_; }
  void go_to(std::size_t place) { place_ = place; }

  /// Throws Error: what, the text, the column, what was expected there and what was found (and what about it).
  [[noreturn]] void refuse(std::string_view expected, std::string_view about_it = "");

 private:
  void skip_spaces();
  std::size_t end_of_word() const;

  std::string_view what_;
  std::string_view text_;
  std::size_t place_ = 0;
};

/// Reads sets joined by & and |; what follows is left to the caller.
Visibility read_visibility(ExpressionReader& reader);

}  // namespace rapt::attention
