#include "autograd/ops.h"
#include "kernels/gemm.h"

namespace rapt::ops {

Var linear(Context& ctx, const Var& x, const WeightPtr& weight, const WeightPtr& bias, bool relu, DType result) {
  Var y(ctx.allocate({x.dim(0), weight->shape()[0]}, result));
  kernels::gemm(ctx, x.value(), weight->matrix(), {.bias = bias ? bias->value() : Tensor(), .relu = relu}, y.value());
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    if (relu) kernels::activation_backward(c, kernels::Activation::relu, y.value(), {}, dy, dy);
    const Weight::Slot dw = weight->gradient_slot();
    kernels::gemm_weight_gradient(c, dy, x.value(), dw.accumulate, dw.tensor);
    if (bias) kernels::add_column_sums(c, dy, bias->gradient_sum());
    const GradientSlot dx = x.gradient_slot(c);
    kernels::gemm_input_gradient(c, dy, weight->matrix(), dx.accumulate, dx.tensor);
  });
  return y;
}

}  // namespace rapt::ops
