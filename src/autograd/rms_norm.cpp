#include "kernels/rms_norm.h"

#include <cstring>

#include "autograd/ops.h"

namespace rapt::ops {
namespace {

kernels::RmsNorm operands(Context& ctx, const Tensor& x, const Tensor& y, std::int64_t begin, std::int64_t groups,
                          const RmsNorm& norm) {
  return {.x = x,
          .begin = begin,
          .groups = groups,
          .weight = norm.weight->value(),
          .weight_offset = norm.weight_offset,
          .epsilon = norm.epsilon,
          .y = y,
          .inverse_rms = ctx.allocate({x.dim(0), groups}, norm.weight->dtype())};
}

}  // namespace

Var rms_norm(Context& ctx, const Var& x, const RmsNorm& norm) {
  Var y(ctx.allocate(x.shape(), x.dtype()));
  const kernels::RmsNorm whole = operands(ctx, x.value(), y.value(), 0, 1, norm);
  kernels::rms_norm_forward(ctx, whole);
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=, weight = norm.weight](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::rms_norm_backward(c, whole, {.dy = dy, .dx = dy, .d_weight = weight->gradient_sum()});
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

Var norm_heads(Context& ctx, const Var& x, std::span<const HeadsNorm> parts) {
  Var y(ctx.allocate(x.shape(), x.dtype()));
  std::memcpy(y.value().raw_write(), x.value().raw(), x.value().bytes());
  std::vector<kernels::RmsNorm> norms;
  std::vector<WeightPtr> weights;
  for (const HeadsNorm& part : parts) {
    norms.push_back(operands(ctx, x.value(), y.value(), part.begin, part.heads, part.norm));
    weights.push_back(part.norm.weight);
    kernels::rms_norm_forward(ctx, norms.back());
  }
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    for (std::size_t i = 0; i < norms.size(); ++i) {
      kernels::rms_norm_backward(c, norms[i], {.dy = dy, .dx = dy, .d_weight = weights[i]->gradient_sum()});
    }
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

}  // namespace rapt::ops
