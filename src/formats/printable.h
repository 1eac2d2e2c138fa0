/// Text from files, made safe to show.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace rapt {

/// `text` as it may stand in a one-line message: control characters and bytes that are not UTF-8 become \xNN, and what
/// is longer than `limit` bytes ends in "...".
std::string printable(std::string_view text, std::size_t limit = 100);

/// A path as it may stand in a one-line message.
std::string shown(const std::filesystem::path& path);

}  // namespace rapt
