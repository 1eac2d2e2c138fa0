/// Layer normalisation (Ba, Kiros, Hinton 2016), with the residual sum and the dropout that precede it in post-norm
/// layers.
#pragma once

#include "core/context.h"

namespace rapt::kernels {

/// Operands of a layer normalisation. x, s, z, y: [rows, width] of one type T (f32, bf16, f64). weight, bias: [width],
/// mean and inverse_deviation: [rows], all f32 (f64 when T is f64).
struct LayerNorm {
  Tensor x;
  Tensor s{};         ///< may be undefined; otherwise z = x + dropout(s) is what gets normalised
  Dropout dropout{};  ///< of s; the element index of the mask is row * width + column
  Tensor z{};  ///< written when s is defined (rounded to T, and the rounded values are normalised); equals x otherwise
  Tensor weight;
  Tensor bias;
  double epsilon = 1e-5;
  Tensor y;  ///< (z - mean) * inverse_deviation * weight + bias
  Tensor mean;
  Tensor inverse_deviation;  ///< 1 / sqrt(variance + epsilon)
};
void layer_norm_forward(const Context& ctx, const LayerNorm& norm);

/// Gradients of the above, from its tensors (y is not read).
struct LayerNormGradient {
  Tensor dy;
  Tensor dz_residual{};  ///< may be undefined; what else flows into z, added to its gradient
  Tensor dx;             ///< gradient of x (and of z)
  Tensor ds{};           ///< written when the forward had s and this is defined: dx through the dropout
  Tensor d_weight;       ///< f32 (f64), added to
  Tensor d_bias;         ///< f32 (f64), added to
};
void layer_norm_backward(const Context& ctx, const LayerNorm& norm, const LayerNormGradient& gradient);

}  // namespace rapt::kernels
