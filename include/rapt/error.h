/// The one way rapt reports that something is wrong.
#pragma once

#include <stdexcept>

namespace rapt {

/// Thrown by the library for anything a caller can cause: bad files, bad options, bad input. The message is one line
/// that names the file or option, what was expected, what was found, and what to do. The command prints it and exits
/// with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rapt
