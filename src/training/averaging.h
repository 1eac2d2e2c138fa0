/// Checkpoint averaging ("Attention Is All You Need", 6.1).
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "formats/safetensors.h"

namespace rapt::training {

/// The mean, tensor by tensor, of the safetensors files, summed in f64 in their order. All tensors are f32 (or f64).
/// Throws Error when the files differ in names, shapes or types, or there is none.
std::vector<NamedTensor> mean_of(std::span<const std::filesystem::path> files);

}  // namespace rapt::training
