#include "training/memory.h"

#include "formats/safetensors.h"

namespace rapt::training {

MemoryNeed memory_need(std::int64_t parameters, Precision precision) {
  constexpr std::uint64_t weight_gradient_and_moments = 4;
  constexpr std::uint64_t packs = 2;
  const auto count = static_cast<std::uint64_t>(parameters);
  return {.state = count * weight_gradient_and_moments * sizeof(float),
          .packed = count * packs * (precision == Precision::bf16 ? 2 : 4)};
}

std::int64_t count_parameters(const std::filesystem::path& directory) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : read_safetensors_directory(directory).tensors) count += tensor.count();
  return count;
}

}  // namespace rapt::training
