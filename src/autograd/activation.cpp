#include "autograd/ops.h"

namespace rapt::ops {

Var activation(Context& ctx, kernels::Activation activation, const Var& x, float dropout) {
  const Dropout mask = draw_dropout(ctx, dropout);
  Var y(ctx.allocate(x.shape(), x.dtype()));
  kernels::activation_forward(ctx, activation, x.value(), mask, y.value());
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::activation_backward(c, activation, x.value(), mask, dy, dy);
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

}  // namespace rapt::ops
