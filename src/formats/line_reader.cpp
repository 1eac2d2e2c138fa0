#include "formats/line_reader.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "formats/file.h"
#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 18;

FileDescriptor open_lines(const std::filesystem::path& path) {
  if (path != "-") return open_to_read(path, Readable::regular_files_and_streams);
  FileDescriptor input(dup(STDIN_FILENO));
  require(input.get() >= 0, "standard input: cannot be read: {}", system_message(errno));
  return input;
}

}  // namespace

void LineReader::Close::operator()(gzFile_s* file) const {
  gzclose(file);
}

LineReader::LineReader(const std::filesystem::path& path, const LineReaderOptions& options)
    : name_(path == "-" ? "standard input" : shown(path)), options_(options), buffer_(buffer_bytes) {
  FileDescriptor input = open_lines(path);
  struct stat status {};
  if (fstat(input.get(), &status) == 0 && S_ISREG(status.st_mode)) file_bytes_ = status.st_size;
  file_.reset(gzdopen(input.get(), "rb"));
  require(file_ != nullptr, "{}: cannot be read: out of memory", name_);
  input.release();
  gzbuffer(file_.get(), static_cast<unsigned>(buffer_bytes));
}

std::optional<double> LineReader::expected_lines() const {
  if (at_end_ && begin_ == end_) return static_cast<double>(lines_);
  const auto read = static_cast<double>(gztell(file_.get()));
  const double given = read - static_cast<double>(end_ - begin_);
  if (file_bytes_ == 0 || given <= 0) return std::nullopt;
  const bool plain = gzdirect(file_.get()) != 0;
  const double taken = plain ? given : given / read * static_cast<double>(gzoffset(file_.get()));
  const double part = taken / static_cast<double>(file_bytes_);
  return static_cast<double>(lines_) / std::min(part, 1.0);
}

std::string LineReader::where() const {
  return fmt::format("{}: line {}", name_, lines_);
}

bool LineReader::fill() {
  const int got = gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
  begin_ = 0;
  end_ = got > 0 ? static_cast<std::size_t>(got) : 0;
  if (end_ > 0) return true;
  at_end_ = true;
  int error = Z_OK;
  gzerror(file_.get(), &error);
  require(error != Z_BUF_ERROR, "{}: line {}: the compressed data end too early; the file is truncated", name_,
          lines_ + 1);
  require(error != Z_ERRNO, "{}: line {}: cannot be read: {}", name_, lines_ + 1, system_message(errno));
  require(error == Z_OK || error == Z_STREAM_END, "{}: line {}: the compressed data are damaged", name_, lines_ + 1);
  return false;
}

bool LineReader::next(std::string& line) {
  line.clear();
  if (begin_ == end_ && !fill()) return false;
  for (bool ended = false; !ended && (begin_ < end_ || fill());) {
    const char* first = buffer_.data() + begin_;
    const auto* newline = static_cast<const char*>(std::memchr(first, '\n', end_ - begin_));
    ended = newline != nullptr;
    const std::size_t length = ended ? static_cast<std::size_t>(newline - first) : end_ - begin_;
    require(length <= options_.max_line_bytes - line.size(), "{}: line {}: is longer than {} bytes", name_, lines_ + 1,
            options_.max_line_bytes);
    line.append(first, length);
    begin_ += length + (ended ? 1 : 0);
  }
  if (line.ends_with('\r')) line.pop_back();
  ++lines_;
  return true;
}

}  // namespace rapt
