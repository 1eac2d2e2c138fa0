#include "text/lines.h"

#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "text/utf8.h"

namespace rapt {
namespace {

gzFile open_input(const std::string& path, const std::string& name) {
  errno = 0;
  const gzFile file = path == "-" ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path.c_str(), "rb");
  require(file != nullptr, "cannot open {}: {}", name, std::strerror(errno ? errno : ENOMEM));
  return file;
}

}  // namespace

struct LineReader::State {
  explicit State(const std::string& path) : name(path == "-" ? "standard input" : path), file(open_input(path, name)) {}
  ~State() { gzclose(file); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Reads the next bytes of the file; false at its end.
  bool fill() {
    const int count = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()));
    int error = Z_OK;
    const char* message = gzerror(file, &error);
    if (error == Z_ERRNO) message = std::strerror(errno);
    require(count >= 0 && (error == Z_OK || error == Z_STREAM_END), "cannot read {} after line {}: {}", name, line,
            message);
    unread = {buffer.data(), static_cast<std::size_t>(count)};
    return count > 0;
  }

  std::string name;
  gzFile file;
  std::size_t line = 0;
  std::array<char, 1 << 16> buffer;
  std::string_view unread;  // of buffer
};

LineReader::LineReader(const std::string& path) : state_(std::make_unique<State>(path)) {}
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;
LineReader::~LineReader() = default;

bool LineReader::next(std::string& line) {
  State& state = *state_;
  line.clear();
  bool found = false;
  for (bool ended = false; !ended && (!state.unread.empty() || state.fill());) {
    const std::size_t newline = state.unread.find('\n');
    ended = newline != std::string_view::npos;
    line += state.unread.substr(0, newline);
    state.unread.remove_prefix(ended ? newline + 1 : state.unread.size());
    found = true;
  }
  if (!found) return false;
  if (line.ends_with('\r')) line.pop_back();
  ++state.line;
  const std::size_t invalid = first_invalid_utf8(line);
  require(invalid == std::string::npos,
          "{}, line {}: byte {} of the line is not valid UTF-8; convert the file to UTF-8", state.name, state.line,
          invalid);
  return true;
}

std::size_t LineReader::line_number() const {
  return state_->line;
}
const std::string& LineReader::name() const {
  return state_->name;
}

std::vector<std::string> read_lines(const std::string& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) lines.push_back(line);
  return lines;
}

}  // namespace rapt
