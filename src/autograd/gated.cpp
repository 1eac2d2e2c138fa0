#include "kernels/gated.h"

#include "autograd/ops.h"

namespace rapt::ops {

Var gated(Context& ctx, kernels::Activation activation, const Var& x, float dropout) {
  const Dropout mask = draw_dropout(ctx, dropout);
  Var y(ctx.allocate({x.dim(0), x.dim(1) / 2}, x.dtype()));
  kernels::gated_forward(ctx, activation, x.value(), mask, y.value());
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Tensor dx = c.allocate(x.shape(), x.dtype());
    kernels::gated_backward(c, activation, x.value(), mask, dy, dx);
    x.add_gradient(c, std::move(dx));
  });
  return y;
}

}  // namespace rapt::ops
