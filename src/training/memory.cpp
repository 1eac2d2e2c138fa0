#include "training/memory.h"

#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace rapt::training {

MemoryNeed memory_need(std::int64_t parameters, Precision precision) {
  constexpr std::uint64_t weight_gradient_and_moments = 4;
  constexpr std::uint64_t packs = 2;
  const auto count = static_cast<std::uint64_t>(parameters);
  return {.state = count * weight_gradient_and_moments * sizeof(float),
          .packed = count * packs * (precision == Precision::bf16 ? 2 : 4)};
}

std::int64_t count_parameters(const std::filesystem::path& model) {
  std::int64_t count = 0;
  if (is_gguf(model)) {
    const Gguf file = read_gguf(model);
    for (const auto& [name, tensor] : file.tensors()) count += tensor.shape.count();
  } else {
    for (const auto& [name, tensor] : read_safetensors_directory(model).tensors) count += tensor.count();
  }
  return count;
}

}  // namespace rapt::training
