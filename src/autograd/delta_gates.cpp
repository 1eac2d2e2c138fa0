#include "kernels/delta_gates.h"

#include "autograd/ops.h"

namespace rapt::ops {

Var delta_gates(Context& ctx, const Var& z, const WeightPtr& a_log, const WeightPtr& dt_bias) {
  Var y(ctx.allocate(z.shape(), a_log->dtype()));
  const kernels::DeltaGates gates{
      .z = z.value(), .a_log = a_log->value(), .dt_bias = dt_bias->value(), .gates = y.value()};
  kernels::delta_gates_forward(ctx, gates);
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Tensor dz = c.allocate(z.shape(), z.dtype());
    kernels::delta_gates_backward(
        c, gates, {.d_gates = dy, .dz = dz, .d_a_log = a_log->gradient_sum(), .d_dt_bias = dt_bias->gradient_sum()});
    z.add_gradient(c, std::move(dz));
  });
  return y;
}

}  // namespace rapt::ops
