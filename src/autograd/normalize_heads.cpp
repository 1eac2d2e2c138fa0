#include <cmath>
#include <cstring>

#include "autograd/ops.h"
#include "kernels/rms_norm.h"

namespace rapt::ops {

Var normalize_heads(Context& ctx, const Var& x, int heads, int d_head) {
  Var y(ctx.allocate(x.shape(), x.dtype()));
  std::memcpy(y.value().raw_write(), x.value().raw(), x.value().bytes());
  const DType wide = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  // |h| = sqrt(d_head) rms(h).
  const kernels::RmsNorm norm{.x = x.value(),
                              .groups = heads,
                              .weight = Tensor::zeros({d_head}, wide),
                              .weight_offset = 1 / std::sqrt(static_cast<double>(d_head)),
                              .epsilon = 1e-6 / d_head,
                              .y = y.value(),
                              .inverse_rms = ctx.allocate({x.dim(0), heads}, wide)};
  kernels::rms_norm_forward(ctx, norm);
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::rms_norm_backward(c, norm, {.dy = dy, .dx = dy, .d_weight = Tensor::zeros({d_head}, wide)});
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

}  // namespace rapt::ops
