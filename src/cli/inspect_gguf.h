#pragma once

#include <filesystem>

namespace rapt {

struct InspectGgufOptions {
  bool tensors = false;  ///< list the tensors
  bool verify = false;   ///< check the model's sizes and vocabulary, unpack every tensor and look for NaN
};

/// Prints what a GGUF file holds: its metadata, long values shortened, and its tensors.
void inspect_gguf(const std::filesystem::path& file, const InspectGgufOptions& options);

}  // namespace rapt
