/// What the .cpp files of the kernels share: checks of operands, and how work is cut into blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "core/tensor.h"

namespace rapt::kernels {

/// Throws Error unless `tensor`, called `name` in `kernel`, holds one of `types`.
void check_type(const char* kernel, const char* name, const Tensor& tensor, std::initializer_list<DType> types);
/// Throws Error unless `tensor`, called `name` in `kernel`, has this shape and type.
void check_operand(const char* kernel, const char* name, const Tensor& tensor, const Shape& shape, DType dtype);

/// The type in which sums over elements of `type` are kept: f64 for f64, f32 otherwise.
inline DType accumulator_of(DType type) {
  return type == DType::f64 ? DType::f64 : DType::f32;
}

/// Address of element `index` of an array of `dtype`; null stays null.
inline const void* at(const void* data, DType dtype, std::int64_t index) {
  if (data == nullptr) return nullptr;
  return static_cast<const std::byte*>(data) + static_cast<std::size_t>(index) * size_of(dtype);
}
inline void* at(void* data, DType dtype, std::int64_t index) {
  return const_cast<void*>(at(static_cast<const void*>(data), dtype, index));
}

/// `total` items cut into blocks of `size` (the last one may be shorter): the indices of a parallel_for. The cut
/// depends on the shape alone, so what is computed cannot depend on the threads.
struct Blocks {
  std::int64_t total = 0;
  std::int64_t size = 1;

  std::int64_t count() const { return (total + size - 1) / size; }
  std::int64_t begin(std::int64_t block) const { return block * size; }
  std::int64_t length(std::int64_t block) const { return std::min(size, total - begin(block)); }

  /// Elements that one thread takes at a time: enough to pay for waking it, few enough to stay in its cache.
  static constexpr std::int64_t grain = 1 << 15;

  static Blocks of_elements(std::int64_t count) { return {count, grain}; }
  static Blocks of_rows(std::int64_t rows, std::int64_t width) {
    return {rows, std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, width))};
  }
};

}  // namespace rapt::kernels
