#include "hub/cache.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "core/error.h"
#include "formats/printable.h"
#include "rapt/hub.h"

namespace rapt {
namespace hub {
namespace fs = std::filesystem;

fs::path models_directory() {
  // The specification: what is not absolute counts as not set.
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && fs::path(cache).is_absolute()) return fs::path(cache) / "rapt" / "models";
  const char* const home = std::getenv("HOME");
  require(home != nullptr && fs::path(home).is_absolute(),
          "models are kept in $XDG_CACHE_HOME/rapt/models, but neither XDG_CACHE_HOME nor HOME names a directory");
  return fs::path(home) / ".cache" / "rapt" / "models";
}

fs::path directory_of(const CatalogModel& model) {
  return models_directory() / model.name;
}

bool is_present(const CatalogModel& model) {
  const fs::path directory = directory_of(model);
  return std::ranges::all_of(model.files, [&](const ModelFile& file) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(directory / file.name, error);
    return !error && size == file.bytes;
  });
}

fs::path path_of(const CatalogModel& model) {
  return model.entry.empty() ? directory_of(model) : directory_of(model) / model.entry;
}

}  // namespace hub

std::filesystem::path find_model(const std::string& path_or_name) {
  std::error_code ignored;
  if (std::filesystem::exists(path_or_name, ignored)) return path_or_name;
  if (const hub::CatalogModel* const model = hub::find_in_catalog(path_or_name)) {
    require(hub::is_present(*model), "{} is not on this machine yet; fetch it once with: rapt pull {}", model->name,
            model->name);
    return hub::path_of(*model);
  }
  std::vector<std::string> names;
  for (const hub::CatalogModel& model : hub::catalog()) names.push_back(model.name);
  fail(
      "{}: there is no such directory or file, and no model of this name; a MODEL is a directory, a .gguf file, or one "
      "of {} (rapt pull lists them)",
      printable(path_or_name, 400), fmt::join(names, ", "));
}

}  // namespace rapt
