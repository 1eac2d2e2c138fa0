/// Models by name.
#pragma once

#include <filesystem>
#include <string>

#include "rapt/error.h"

namespace rapt {

/// Where a model lies that a person names: a path that exists is taken as it is; else the name of a model that
/// `rapt pull` has fetched is its directory or GGUF file below $XDG_CACHE_HOME/rapt/models (~/.cache where that is not
/// set). Nothing is fetched here. Throws Error for a model that is known but not there yet, saying how to fetch it, and
/// for what is neither, listing the names.
std::filesystem::path find_model(const std::string& path_or_name);

}  // namespace rapt
