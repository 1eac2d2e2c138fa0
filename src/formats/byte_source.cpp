#include "formats/byte_source.h"

#include <poll.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace rapt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t buffer_bytes = std::size_t{1} << 18;

/// Whether there is something to read, or the end of it, before the deadline.
bool comes(const FileDescriptor& file, const Deadline& deadline) {
  for (;;) {
    int patience = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
      patience = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
    }
    pollfd of_file{.fd = file.get(), .events = POLLIN, .revents = 0};
    const int ready = poll(&of_file, 1, patience);
    if (ready >= 0) return ready > 0;
    require(errno == EINTR, "cannot be read: {}", system_message(errno));
  }
}

}  // namespace

void ByteSource::End::operator()(z_stream_s* stream) const {
  inflateEnd(stream);
  delete stream;
}

ByteSource::ByteSource(FileDescriptor file) : file_(std::move(file)), buffer_(buffer_bytes) {}

/// Reads on behind what has not been given; false when nothing came in time.
bool ByteSource::read_more(const Deadline& deadline) {
  if (!input_.empty()) std::memmove(buffer_.data(), input_.data(), input_.size());
  input_ = std::span(buffer_).first(input_.size());
  for (;;) {
    // A stream may have been told not to wait by whoever shares it.
    if (!comes(file_, deadline)) return false;
    const ssize_t got = ::read(file_.get(), buffer_.data() + input_.size(), buffer_.size() - input_.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    require(got >= 0, "cannot be read: {}", system_message(errno));
    at_end_ = got == 0;
    read_ += static_cast<std::uint64_t>(got);
    input_ = std::span(buffer_).first(input_.size() + static_cast<std::size_t>(got));
    return true;
  }
}

/// Reads until it is clear what begins here; false when that did not come in time.
bool ByteSource::decide(const Deadline& deadline) {
  constexpr std::string_view magic = "\x1f\x8b";
  const auto read = [&] { return std::string_view(input_.data(), std::min(input_.size(), magic.size())); };
  while (!at_end_ && read().size() < magic.size() && magic.starts_with(read())) {
    if (!read_more(deadline)) return false;
  }
  const bool first = stream_ == nullptr;
  if (read() != magic) {
    state_ = first ? State::plain : State::ended;
    return true;
  }
  state_ = State::compressed;
  if (first) {
    constexpr int window_of_gzip = 15 + 16;
    stream_.reset(new z_stream{});
    require(inflateInit2(stream_.get(), window_of_gzip) == Z_OK, "cannot be decompressed: out of memory");
    output_.resize(buffer_bytes);
  } else {
    inflateReset(stream_.get());
  }
  return true;
}

std::optional<std::string_view> ByteSource::decompress(const Deadline& deadline) {
  while (state_ == State::compressed) {
    stream_->next_in = reinterpret_cast<unsigned char*>(input_.data());
    stream_->avail_in = static_cast<unsigned>(input_.size());
    stream_->next_out = reinterpret_cast<unsigned char*>(output_.data());
    stream_->avail_out = static_cast<unsigned>(output_.size());
    const int result = inflate(stream_.get(), Z_NO_FLUSH);
    input_ = input_.last(stream_->avail_in);
    require(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR, "the compressed data are damaged");
    if (result == Z_STREAM_END) state_ = State::undecided;
    const std::size_t made = output_.size() - stream_->avail_out;
    if (made > 0) return std::string_view(output_.data(), made);
    if (state_ == State::undecided || !input_.empty()) continue;
    require(!at_end_, "the compressed data end too early; the file is truncated");
    if (!read_more(deadline)) return std::nullopt;
  }
  return next(deadline);
}

std::optional<std::string_view> ByteSource::next(const Deadline& deadline) {
  if (state_ == State::undecided && !decide(deadline)) return std::nullopt;
  if (state_ == State::compressed) return decompress(deadline);
  if (state_ == State::ended) return std::string_view();
  if (input_.empty() && !at_end_ && !read_more(deadline)) return std::nullopt;
  return give_input();
}

std::string_view ByteSource::give_input() {
  const std::string_view given(input_.data(), input_.size());
  input_ = {};
  return given;
}

}  // namespace rapt
