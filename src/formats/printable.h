/// Text from files, made safe to show.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"

namespace rapt {

/// A text as it may stand in a one-line message: control characters and bytes that are not UTF-8 become \xNN, and what
/// is longer than `limit` bytes ends in "...". Made when it is shown, which most messages never are: it must not
/// outlive `text`.
class Printable {
 public:
  Printable(std::string_view text, std::size_t limit) : text_(text), limit_(limit) {}
  operator std::string() const;  // NOLINT(google-explicit-constructor): it stands for its text

 private:
  std::string_view text_;
  std::size_t limit_;
};
inline Printable printable(std::string_view text, std::size_t limit = 100) {
  return {text, limit};
}

/// A path as it may stand in a one-line message.
std::string shown(const std::filesystem::path& path);

}  // namespace rapt

template <>
struct fmt::formatter<rapt::Printable> {
  static constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  static fmt::format_context::iterator format(const rapt::Printable& text, fmt::format_context& context);
};
