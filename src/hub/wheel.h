/// Files out of a wheel, which is a zip archive. The only place that uses libzip.
#pragma once

#include <filesystem>
#include <string>

#include "hub/catalog.h"

namespace rapt::hub {

/// A wheel that is open to be read.
class Wheel {
 public:
  /// Throws Error unless the file is a zip archive.
  explicit Wheel(const std::filesystem::path& path);
  ~Wheel();
  Wheel(const Wheel&) = delete;
  Wheel& operator=(const Wheel&) = delete;

  /// Writes a member under the name that the catalogue gives it below `directory`, fsync included; what the archive
  /// calls it decides nothing. Throws Error unless it is there, is a regular file, is as long as the catalogue says,
  /// and has its checksum.
  void extract(const ModelFile& file, const std::filesystem::path& directory) const;

 private:
  std::string path_;
  void* archive_ = nullptr;
};

}  // namespace rapt::hub
