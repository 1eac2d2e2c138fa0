/// Products in float64, for gradient checks: plain and exact rather than fast.
#pragma once

#include "kernels/gemm.h"

namespace rapt::kernels {

void gemm_f64(const Context& ctx, const Tensor& x, const Tensor& weight, const GemmEpilogue& epilogue, const Tensor& y);
void gemm_input_gradient_f64(const Context& ctx, const Tensor& dy, const Tensor& weight, bool accumulate,
                             const Tensor& dx);
void gemm_weight_gradient_f64(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw);

}  // namespace rapt::kernels
