/// Lines that a subcommand reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/line_reader.h"

namespace rapt::cli {

/// Lines of a file or of standard input ("-"). Bytes that are not UTF-8 become U+FFFD, with a warning, so that no line
/// is lost.
class Input {
 public:
  explicit Input(const std::string& path);

  /// The next lines to work on together: many where they lie ready, those that have come where whoever writes them may
  /// be waiting for an answer. Empty at the end.
  std::vector<std::string> next_lines();
  std::int64_t lines() const { return reader_.lines(); }
  /// About how many lines there are in all; 0 where nobody knows.
  double expected_lines() const { return reader_.expected_lines().value_or(0); }

 private:
  LineReader reader_;
};

/// All of a file or of standard input ("-"), plain or gzip, without the newline at its end. Throws Error unless it is
/// UTF-8.
std::string read_text(const std::string& path);

}  // namespace rapt::cli
