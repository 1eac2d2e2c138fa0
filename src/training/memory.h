/// Memory that training takes.
#pragma once

#include <cstdint>
#include <filesystem>

#include "rapt/precision.h"

namespace rapt::training {

/// Bytes that training a model keeps from step to step.
struct MemoryNeed {
  std::uint64_t state = 0;   ///< f32 weights, gradients and Adam's two moments: 16 bytes a parameter
  std::uint64_t packed = 0;  ///< weights as products want them, once for each direction, in the type computed with

  std::uint64_t total() const { return state + packed; }
};
MemoryNeed memory_need(std::int64_t parameters, Precision precision);

/// Parameters of the model of a directory or a GGUF file, from the headers of its files alone.
std::int64_t count_parameters(const std::filesystem::path& model);

}  // namespace rapt::training
