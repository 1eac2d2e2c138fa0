#include "autograd/ops.h"

namespace rapt::ops {

Var soft_cap(Context& ctx, const Var& x, double cap) {
  if (ctx.tape == nullptr) {
    kernels::soft_cap_forward(ctx, cap, x.value(), x.value());
    return x;
  }
  Var y(ctx.allocate(x.shape(), x.dtype()));
  kernels::soft_cap_forward(ctx, cap, x.value(), y.value());
  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::soft_cap_backward(c, cap, x.value(), dy, dy);
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

}  // namespace rapt::ops
