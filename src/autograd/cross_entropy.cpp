#include "kernels/cross_entropy.h"

#include "autograd/ops.h"

namespace rapt::ops {

kernels::CrossEntropySums cross_entropy(Context& ctx, const Var& logits, std::span<const std::int32_t> targets,
                                        const CrossEntropyOptions& options) {
  const double gradient_scale = ctx.tape != nullptr ? options.gradient_scale : 0;
  const auto sums =
      kernels::cross_entropy(ctx, logits.value(), targets, options.label_smoothing, gradient_scale, options.row_nll);
  if (ctx.tape != nullptr) {
    ctx.tape->record([=](Context& c) { logits.add_gradient(c, logits.value()); });
  }
  return sums;
}

}  // namespace rapt::ops
