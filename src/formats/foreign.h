/// What people put in place of the files that rapt reads.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace rapt {

/// What a file that begins so is, and what to do about it: "; it is a Git LFS pointer ...: run ...", or nothing if it
/// is none of the known kinds.
std::string_view advice_about(std::string_view start);

/// The same about a model directory without the weights that rapt reads, by the names of its files.
std::string advice_about_weights(const std::filesystem::path& directory);

}  // namespace rapt
