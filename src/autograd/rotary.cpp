#include "kernels/rotary.h"

#include "autograd/ops.h"

namespace rapt::ops {
namespace {

void turn(Context& ctx, const Tensor& x, const RotaryOptions& options, std::span<const std::int32_t> positions,
          bool inverse) {
  auto* row = static_cast<std::byte*>(x.raw_write());
  kernels::rotate(ctx, {.dtype = x.dtype(),
                        .data = row + static_cast<std::size_t>(options.begin) * size_of(x.dtype()),
                        .stride = x.dim(1),
                        .heads = options.heads,
                        .d_head = options.d_head,
                        .turns = options.turns.get(),
                        .scale = options.scale,
                        .inverse = inverse,
                        .positions = positions});
}

}  // namespace

Var rotary(Context& ctx, const Var& x, const RotaryOptions& options) {
  turn(ctx, x.value(), options, options.positions, false);
  if (ctx.tape == nullptr) return x;

  Var y(x.value());
  std::vector<std::int32_t> kept(options.positions.begin(), options.positions.end());
  ctx.tape->record([=, positions = std::move(kept)](Context& c) {
    Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    turn(c, dy, options, positions, true);
    x.add_gradient(c, std::move(dy));
  });
  return y;
}

}  // namespace rapt::ops
