/// Rotary position embedding (Su et al. 2021, RoFormer), in the "rotate half" convention of Hugging Face.
#pragma once

#include <span>

#include "core/context.h"

namespace rapt::kernels {

/// Rotates in place the first elements of every head of x (rows of `stride` elements, `heads` heads of d_head each,
/// f32, bf16 or f64): with n frequencies the pair (x[i], x[i + n]) turns by positions[t] * frequencies[i] radians and
/// is multiplied by `scale`. inverse turns the other way, which is the gradient.
struct Rotary {
  DType dtype = DType::f32;
  void* data = nullptr;
  std::int64_t stride = 0;
  int heads = 1;
  int d_head = 0;
  std::span<const double> frequencies;
  double scale = 1;
  bool inverse = false;
  std::span<const std::int32_t> positions;  ///< one for each row
};
void rotate(const Context& ctx, const Rotary& rotary);

}  // namespace rapt::kernels
