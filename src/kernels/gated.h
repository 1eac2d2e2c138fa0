/// Gated activations of feed-forward layers (Shazeer, "GLU Variants Improve Transformer", 2020): SwiGLU, GeGLU, ReGLU.
#pragma once

#include "core/context.h"
#include "kernels/activation.h"

namespace rapt::kernels {

/// y = dropout(activation(x[:, :width]) * x[:, width:]).  x: [rows, 2 * width], y: [rows, width], of one type (f32,
/// bf16, f64); the element index of the mask is that of y.
void gated_forward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout, const Tensor& y);
/// dx: [rows, 2 * width] from dy: [rows, width] and the input of the forward.
void gated_backward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                    const Tensor& dy, const Tensor& dx);

}  // namespace rapt::kernels
