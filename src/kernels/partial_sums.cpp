#include "kernels/partial_sums.h"

namespace rapt::kernels {
namespace {

template <typename T>
void add_rows(const void* sums, std::int64_t rows, std::int64_t stride, std::int64_t count, T* result) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* partial = static_cast<const T*>(sums) + row * stride;
    for (std::int64_t c = 0; c < count; ++c) result[c] += partial[c];
  }
}

}  // namespace

PartialSums::PartialSums(DType elements, std::int64_t blocks, std::int64_t width)
    : dtype_(accumulator_of(elements)),
      blocks_(blocks),
      width_(width),
      sums_(std::make_unique<std::byte[]>(static_cast<std::size_t>(blocks * width) * size_of(dtype_))) {}

Blocks PartialSums::blocks_of(std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t most = 32;
  constexpr std::int64_t together = 8;  // rows that the inner loops take at a time
  const std::int64_t size = std::max(Blocks::of_rows(rows, width).size, (rows + most - 1) / most);
  return {rows, (size + together - 1) / together * together};
}

void* PartialSums::of(std::int64_t block, std::int64_t first) {
  return at(sums_.get(), dtype_, block * width_ + first);
}

void PartialSums::add_to(const Tensor& result, std::int64_t first) const {
  const void* sums = at(sums_.get(), dtype_, first);
  if (dtype_ == DType::f64) {
    add_rows(sums, blocks_, width_, result.count(), result.write<double>());
  } else {
    add_rows(sums, blocks_, width_, result.count(), result.write<float>());
  }
}

}  // namespace rapt::kernels
