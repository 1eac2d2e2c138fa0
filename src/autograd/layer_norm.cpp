#include "autograd/ops.h"
#include "kernels/norm.h"

namespace rapt::ops {
namespace {

kernels::LayerNorm operands(Context& ctx, const Var& x, const WeightPtr& weight, const WeightPtr& bias,
                            double epsilon) {
  const DType statistics = weight->dtype();
  return {.x = x.value(),
          .z = x.value(),
          .weight = weight->value(),
          .bias = bias->value(),
          .epsilon = epsilon,
          .y = ctx.allocate(x.shape(), x.dtype()),
          .mean = ctx.allocate({x.dim(0)}, statistics),
          .inverse_deviation = ctx.allocate({x.dim(0)}, statistics)};
}

/// Runs the backward kernel, which overwrites dx, when something may already have flowed into x.
void add_input_gradient(Context& ctx, const Var& x, const kernels::LayerNorm& norm,
                        kernels::LayerNormGradient gradient) {
  gradient.dx = ctx.allocate(x.shape(), x.dtype());
  kernels::layer_norm_backward(ctx, norm, gradient);
  x.add_gradient(ctx, std::move(gradient.dx));
}

}  // namespace

Var layer_norm(Context& ctx, const Var& x, const WeightPtr& weight, const WeightPtr& bias, double epsilon) {
  kernels::LayerNorm norm = operands(ctx, x, weight, bias, epsilon);
  kernels::layer_norm_forward(ctx, norm);
  Var y(std::move(norm.y));
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    add_input_gradient(c, x, norm, {.dy = dy, .d_weight = weight->gradient_sum(), .d_bias = bias->gradient_sum()});
  });
  return y;
}

Var add_and_norm(Context& ctx, const Var& x, const Var& s, float dropout, const WeightPtr& weight,
                 const WeightPtr& bias, double epsilon) {
  kernels::LayerNorm norm = operands(ctx, x, weight, bias, epsilon);
  norm.s = s.value();
  norm.dropout = draw_dropout(ctx, dropout);
  norm.z = ctx.allocate(x.shape(), x.dtype());
  kernels::layer_norm_forward(ctx, norm);
  Var y(std::move(norm.y));
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Tensor ds = c.allocate(s.shape(), s.dtype());
    add_input_gradient(c, x, norm,
                       {.dy = dy, .ds = ds, .d_weight = weight->gradient_sum(), .d_bias = bias->gradient_sum()});
    s.add_gradient(c, std::move(ds));
  });
  return y;
}

}  // namespace rapt::ops
