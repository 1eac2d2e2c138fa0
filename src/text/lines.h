/// Reading text files line by line.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace rapt {

/// Reads the lines of a text file, plain or compressed with gzip (told apart by their first bytes); "-" is standard
/// input. Lines end with \n or \r\n or the end of the file, and are given without that end.
class LineReader {
 public:
  /// Throws Error if the file cannot be opened.
  explicit LineReader(const std::string& path);
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;
  ~LineReader();

  /// Reads the next line, or returns false at the end of the file. Throws Error, naming file and line, if the file
  /// cannot be read or decompressed or the line is not valid UTF-8.
  bool next(std::string& line);
  /// The number of the line that next() gave last, counted from 1.
  std::size_t line_number() const;
  /// The file as messages call it.
  const std::string& name() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All lines of a file; errors as LineReader.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace rapt
