/// Bytes of a file or a stream, as they come.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "formats/file.h"

struct z_stream_s;

namespace rapt {

/// When to stop waiting; not set: never.
using Deadline = std::optional<std::chrono::steady_clock::time_point>;

/// Reads a regular file or a stream. What begins as gzip does is decompressed: its parts one after the other, without
/// what may stand behind the last. Nothing waits for more than there is, so that whoever writes to a pipe line by line
/// is heard line by line. Errors say what is wrong with the bytes, and leave it to the caller to say where.
class ByteSource {
 public:
  explicit ByteSource(FileDescriptor file);

  /// The next bytes, at least one, valid until the next call; empty at the end. Nothing when none came in time.
  std::optional<std::string_view> next(const Deadline& deadline = std::nullopt);
  /// Bytes of the file that what was given so far took.
  std::uint64_t taken() const { return read_ - input_.size(); }

 private:
  enum class State { undecided, plain, compressed, ended };
  struct End {
    void operator()(z_stream_s* stream) const;
  };

  bool read_more(const Deadline& deadline);
  bool decide(const Deadline& deadline);
  std::optional<std::string_view> decompress(const Deadline& deadline);
  std::string_view give_input();

  FileDescriptor file_;
  State state_ = State::undecided;
  bool at_end_ = false;  // of the file
  std::uint64_t read_ = 0;
  std::vector<char> buffer_;
  std::span<char> input_;     // of the buffer: read and not yet given
  std::vector<char> output_;  // decompressed
  std::unique_ptr<z_stream_s, End> stream_;
};

}  // namespace rapt
