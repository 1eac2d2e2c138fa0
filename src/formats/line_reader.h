/// Text files, line by line, compressed or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/byte_source.h"

namespace rapt {

struct LineReaderOptions {
  std::size_t max_line_bytes = std::size_t{1} << 26;  ///< a longer line is an error
};

/// Reads a text file, or standard input when the path is "-". A file whose first bytes are those of gzip is
/// decompressed, whatever its name. Lines end in "\n" or "\r\n"; the last one may lack it. Any other byte is part of
/// its line, NUL and invalid UTF-8 included. Errors name the file and the line.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path, const LineReaderOptions& options = {});

  /// The next line without its end, into `line`; false at the end of the file.
  bool next(std::string& line);
  /// Whether next() need not wait for whoever writes to a stream: the whole line, or the end, came before the deadline.
  bool ready(const Deadline& deadline) { return gather(deadline); }
  /// How many lines next() gave, that is, the number of the last one.
  std::int64_t lines() const { return lines_; }
  /// About how many there are in all, by the part of the file that they took; nothing where that is not known, as of a
  /// pipe that goes on.
  std::optional<double> expected_lines() const;
  /// "corpus.en.gz: line 17", for messages about the last line.
  std::string where() const;

 private:
  bool gather(const Deadline& deadline);
  bool fill(const Deadline& deadline);

  std::string name_;
  LineReaderOptions options_;
  std::int64_t file_bytes_ = 0;  ///< 0: not known
  std::optional<ByteSource> source_;
  std::string_view rest_;  ///< of what the source gave
  std::int64_t read_ = 0;  ///< bytes that it gave so far
  std::string line_;       ///< the next line, as far as it has come
  bool whole_ = false;     ///< whether that is to its end
  bool at_end_ = false;
  std::int64_t lines_ = 0;
};

}  // namespace rapt
