/// Reading a binary format from beginning to end without ever leaving it.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace rapt {

/// A place in some bytes that only moves forward. What is read must lie in them: everything else throws Error with the
/// file, the offset, where in the format that is, what was expected and how much is left. Numbers are little-endian and
/// need no alignment. Nothing is copied: spans and texts lie in the bytes.
class ByteCursor {
 public:
  /// `file` stands for the bytes in messages.
  ByteCursor(std::span<const std::byte> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  std::size_t offset() const { return offset_; }
  std::size_t left() const { return bytes_.size() - offset_; }

  /// Says in messages where reading is from now on, for example `key "general.name"`: a kind of thing, and its name
  /// (from the file or not). Both must live as long as they are in use.
  void enter(std::string_view kind, std::string_view name = {}) {
    kind_ = kind;
    name_ = name;
  }

  /// The next number; `what` it is.
  template <typename T>
  requires std::integral<T> || std::floating_point<T> T read(std::string_view what) {
    static_assert(std::endian::native == std::endian::little);
    T result;
    std::memcpy(&result, take(sizeof result, what).data(), sizeof result);
    return result;
  }

  /// The next `size` bytes.
  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    require_left(size, 1, what);
    const auto result = bytes_.subspan(offset_, static_cast<std::size_t>(size));
    offset_ += result.size();
    return result;
  }

  /// Bytes that a length of 64 bits stands in front of.
  std::string_view read_text(std::string_view what) {
    const auto bytes = take(read<std::uint64_t>(what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// Throws unless `count` things of at least `size` > 0 bytes each can follow; to be asked before anything is
  /// allocated for them.
  void require_left(std::uint64_t count, std::size_t size, std::string_view what) const;

  /// Throws: "FILE: at byte OFFSET, in PLACE: PROBLEM".
  [[noreturn]] void refuse(std::string_view problem) const;

 private:
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
  std::string file_;
  std::string_view kind_ = "the header";
  std::string_view name_;
};

}  // namespace rapt
