#include "kernels/adam.h"

#include <cmath>

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(adam_block, (const AdamBlock& block), (block))

void adam_update(const Context& ctx, const AdamStep& step, const Tensor& weight, const Tensor& gradient,
                 const Tensor& m, const Tensor& v) {
  constexpr const char* kernel = "adam_update";
  const DType dtype = weight.dtype();
  check_type(kernel, "weight", weight, {DType::f32, DType::f64});
  check_operand(kernel, "gradient", gradient, weight.shape(), dtype);
  check_operand(kernel, "m", m, weight.shape(), dtype);
  check_operand(kernel, "v", v, weight.shape(), dtype);
  require(step.step >= 1, "{}: step is {}, steps count from 1", kernel, step.step);

  const auto steps = static_cast<double>(step.step);
  AdamBlock factors{.dtype = dtype,
                    .gradient_scale = step.gradient_scale,
                    .beta1 = step.beta1,
                    .beta2 = step.beta2,
                    .keep = 1 - step.learning_rate * step.weight_decay,
                    .rate = step.learning_rate / (1 - std::pow(step.beta1, steps)),
                    .deviation = 1 / std::sqrt(1 - std::pow(step.beta2, steps)),
                    .epsilon = step.epsilon};
  void* const weights = weight.raw_write();
  void* const first = m.raw_write();
  void* const second = v.raw_write();
  const Blocks blocks = Blocks::of_elements(weight.count());
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    AdamBlock block = factors;
    block.count = blocks.length(i);
    block.weight = at(weights, dtype, blocks.begin(i));
    block.gradient = at(gradient.raw(), dtype, blocks.begin(i));
    block.m = at(first, dtype, blocks.begin(i));
    block.v = at(second, dtype, blocks.begin(i));
    adam_block(block);
  });
}

}  // namespace rapt::kernels
