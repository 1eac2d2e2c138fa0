/// Root mean square normalisation (Zhang, Sennrich 2019).
#pragma once

#include "core/context.h"

namespace rapt::kernels {

/// y = x / rms(x) * (weight + weight_offset), rms(x) = sqrt(mean(x^2) + epsilon), for `groups` vectors of each row: the
/// columns [begin + g * width, begin + (g + 1) * width). One group is a layer's norm; several are the heads of queries
/// or keys in a fused projection. x, y: [rows, columns] of one type T (f32, bf16, f64); columns outside of the groups
/// are not touched. weight: [width], inverse_rms: [rows, groups], f32 (f64 when T is f64).
struct RmsNorm {
  Tensor x;
  std::int64_t begin = 0;
  std::int64_t groups = 1;
  Tensor weight;
  double weight_offset = 0;
  double epsilon = 1e-6;
  Tensor y;
  Tensor inverse_rms;
};
void rms_norm_forward(const Context& ctx, const RmsNorm& norm);

/// Gradients of the above, from its tensors (y is not read).
struct RmsNormGradient {
  Tensor dy;
  Tensor dx;        ///< may be dy
  Tensor d_weight;  ///< f32 (f64), added to
};
void rms_norm_backward(const Context& ctx, const RmsNorm& norm, const RmsNormGradient& gradient);

}  // namespace rapt::kernels
