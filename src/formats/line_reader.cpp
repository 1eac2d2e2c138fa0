#include "formats/line_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "core/error.h"
#include "formats/file.h"
#include "formats/printable.h"

namespace rapt {
namespace {

FileDescriptor open_lines(const std::filesystem::path& path) {
  if (path != "-") return open_to_read(path, Readable::regular_files_and_streams);
  FileDescriptor input(dup(STDIN_FILENO));
  require(input.get() >= 0, "standard input: cannot be read: {}", system_message(errno));
  return input;
}

}  // namespace

LineReader::LineReader(const std::filesystem::path& path, const LineReaderOptions& options)
    : name_(path == "-" ? "standard input" : shown(path)), options_(options) {
  FileDescriptor input = open_lines(path);
  struct stat status {};
  if (fstat(input.get(), &status) == 0 && S_ISREG(status.st_mode)) file_bytes_ = status.st_size;
  source_.emplace(std::move(input));
}

std::optional<double> LineReader::expected_lines() const {
  if (at_end_ && rest_.empty() && line_.empty()) return static_cast<double>(lines_);
  const auto given = static_cast<double>(read_) - static_cast<double>(rest_.size() + line_.size());
  if (file_bytes_ == 0 || given <= 0) return std::nullopt;
  const double taken = given / static_cast<double>(read_) * static_cast<double>(source_->taken());
  const double part = taken / static_cast<double>(file_bytes_);
  return static_cast<double>(lines_) / std::min(part, 1.0);
}

std::string LineReader::where() const {
  return fmt::format("{}: line {}", name_, lines_);
}

/// False when nothing came in time.
bool LineReader::fill(const Deadline& deadline) {
  try {
    const std::optional<std::string_view> more = source_->next(deadline);
    if (!more) return false;
    rest_ = *more;
  } catch (const Error& error) {
    fail("{}: line {}: {}", name_, lines_ + 1, error.what());
  }
  read_ += std::ssize(rest_);
  at_end_ = rest_.empty();
  return true;
}

/// Reads the next line; false when its end did not come in time.
bool LineReader::gather(const Deadline& deadline) {
  while (!whole_ && !at_end_) {
    if (rest_.empty() && !fill(deadline)) return false;
    const std::size_t newline = rest_.find('\n');
    whole_ = newline != std::string_view::npos;
    const std::size_t length = whole_ ? newline : rest_.size();
    require(length <= options_.max_line_bytes - line_.size(), "{}: line {}: is longer than {} bytes", name_, lines_ + 1,
            options_.max_line_bytes);
    line_.append(rest_.substr(0, length));
    rest_.remove_prefix(length + (whole_ ? 1 : 0));
  }
  return true;
}

bool LineReader::next(std::string& line) {
  gather(std::nullopt);
  line.clear();
  if (!std::exchange(whole_, false) && line_.empty()) return false;
  std::swap(line, line_);
  if (line.ends_with('\r')) line.pop_back();
  ++lines_;
  return true;
}

}  // namespace rapt
