#include <cstring>

#include "autograd/ops.h"

namespace rapt::ops {

Dropout draw_dropout(Context& ctx, float probability) {
  probability *= ctx.dropout_share;
  if (ctx.tape == nullptr || !(probability > 0)) return {};
  return {.probability = probability, .key = ctx.random.next()};
}

Var dropout(Context& ctx, const Var& x, float probability) {
  const Dropout mask = draw_dropout(ctx, probability);
  if (!mask.active()) return x;
  Var y(ctx.allocate(x.shape(), x.dtype()));
  kernels::add_dropout(ctx, {}, x.value(), mask, y.value());
  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::add_dropout(c, {}, dy, mask, dy);
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

Var scale(Context& ctx, const Var& x, double factor) {
  Var y(ctx.allocate(x.shape(), x.dtype()));
  std::memcpy(y.value().raw_write(), x.value().raw(), x.value().bytes());
  kernels::scale(ctx, y.value(), factor);
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::scale(c, dy, factor);
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

Var add(Context& ctx, const Var& x, const Var& s, float dropout) {
  const Dropout mask = draw_dropout(ctx, dropout);
  Var z(ctx.allocate(x.shape(), x.dtype()));
  kernels::add_dropout(ctx, x.value(), s.value(), mask, z.value());
  if (ctx.tape == nullptr) return z;

  ctx.tape->record([=](Context& c) {
    Tensor dz = z.take_gradient();
    if (!dz.defined()) return;
    const GradientSlot ds = s.gradient_slot(c);
    kernels::add_dropout(c, ds.accumulate ? ds.tensor : Tensor(), dz, mask, ds.tensor);
    x.add_gradient(c, std::move(dz));
  });
  return z;
}

}  // namespace rapt::ops
