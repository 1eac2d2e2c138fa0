/// Where fetched models lie.
#pragma once

#include <filesystem>

#include "hub/catalog.h"

namespace rapt::hub {

/// $XDG_CACHE_HOME/rapt/models, or ~/.cache/rapt/models (XDG Base Directory Specification). Throws Error where neither
/// is set.
std::filesystem::path models_directory();
std::filesystem::path directory_of(const CatalogModel& model);

/// Whether each file is there in its length. Checksums were compared when they were written.
bool is_present(const CatalogModel& model);
/// What the commands take for the model: its directory or GGUF file.
std::filesystem::path path_of(const CatalogModel& model);

}  // namespace rapt::hub
