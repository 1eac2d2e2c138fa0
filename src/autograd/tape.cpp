#include "autograd/tape.h"

#include "kernels/elementwise.h"

namespace rapt {

GradientSlot Var::gradient_slot(Context& ctx) const {
  if (state_->gradient.defined()) return {state_->gradient, true};
  state_->gradient = ctx.allocate(state_->value.shape(), state_->value.dtype());
  return {state_->gradient, false};
}

void Var::add_gradient(Context& ctx, Tensor gradient) const {
  if (state_->gradient.defined()) {
    kernels::accumulate(ctx, state_->gradient, gradient);
  } else {
    state_->gradient = std::move(gradient);
  }
}

void Tape::run_backward(Context& ctx) {
  while (!backward_.empty()) {
    const auto backward = std::move(backward_.back());
    backward_.pop_back();
    backward(ctx);
  }
}

}  // namespace rapt
