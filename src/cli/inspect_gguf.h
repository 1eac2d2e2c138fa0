#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "model/transformer.h"

namespace rapt {

struct InspectGgufOptions {
  bool tensors = false;  ///< list the tensors
  bool verify = false;   ///< check the model's sizes and vocabulary, unpack every tensor and look for NaN
  std::function<std::string(const Transformer&)> describe;  ///< what is said of any model
};

/// Prints what a GGUF file holds: its metadata, long values shortened, and its tensors.
void inspect_gguf(const std::filesystem::path& file, const InspectGgufOptions& options);

}  // namespace rapt
