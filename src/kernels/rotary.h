/// Rotary position embedding (Su et al. 2021, RoFormer), in the "rotate half" convention of Hugging Face.
#pragma once

#include <span>

#include "core/context.h"

namespace rapt::kernels {

/// Rotates in place the first `rotary` of the d_head elements of every head of x (rows of `stride` elements, `heads`
/// heads of d_head each, f32, bf16 or f64): for i < rotary/2 the pair (x[i], x[i + rotary/2]) turns by positions[t] *
/// base^(-2i/rotary). inverse turns back, which is the gradient.
struct Rotary {
  DType dtype = DType::f32;
  void* data = nullptr;
  std::int64_t stride = 0;
  int heads = 1;
  int d_head = 0;
  int rotary = 0;
  double base = 10000;
  bool inverse = false;
  std::span<const std::int32_t> positions;  ///< one for each row
};
void rotate(const Context& ctx, const Rotary& rotary);

}  // namespace rapt::kernels
