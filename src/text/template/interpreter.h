/// Runs templates.
#pragma once

#include <cstddef>
#include <ctime>
#include <map>
#include <optional>
#include <string>

#include "text/template/syntax.h"

namespace rapt::jinja {

struct Limits {
  std::size_t steps = std::size_t{1} << 22;  ///< expressions and statements, and items that filters look at
  std::size_t bytes = std::size_t{1} << 26;  ///< of all strings made on the way, the result included
  int depth = 50;                            ///< macros within each other
};

using Variables = std::map<std::string, Value, std::less<>>;

/// The text of a template. `now` is what strftime_now() tells. Throws Error naming the line for what Python would throw
/// at, for raise_exception(), for functions, filters and tests that rapt does not have, and at a limit.
std::string render(const Block& block, const Variables& variables, const std::tm& now, const Limits& limits = {});

}  // namespace rapt::jinja
