#include "kernels/elementwise.h"

#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"
#include "kernels/partial_sums.h"

namespace rapt::kernels {

RAPT_DISPATCH(add_dropout_block, (const ElementsBlock& block), (block))
RAPT_DISPATCH(accumulate_block, (const ElementsBlock& block), (block))
RAPT_DISPATCH(scale_block, (const ElementsBlock& block, double factor), (block, factor))
RAPT_DISPATCH(activation_forward_block, (Activation activation, const ElementsBlock& block), (activation, block))
RAPT_DISPATCH(activation_backward_block, (Activation activation, const ElementsBlock& block), (activation, block))
RAPT_DISPATCH(soft_cap_forward_block, (double cap, const ElementsBlock& block), (cap, block))
RAPT_DISPATCH(soft_cap_backward_block, (double cap, const ElementsBlock& block), (cap, block))
RAPT_DISPATCH(column_sums_block, (DType dtype, const void* x, int64_t rows, int64_t width, void* sums),
              (dtype, x, rows, width, sums))
RAPT_DISPATCH(sum_of_squares_block, (DType dtype, const void* x, int64_t count, double* result),
              (dtype, x, count, result))

namespace {

constexpr auto floating = {DType::f32, DType::bf16, DType::f64};

/// Calls work(block) for the blocks of the elements of x, y and result (those that are defined).
template <typename Work>
void for_blocks(const Context& ctx, const Tensor& x, const Tensor& y, const Tensor& result, const DropoutMask& mask,
                Work work) {
  const DType dtype = result.dtype();
  const Blocks blocks = Blocks::of_elements(result.count());
  void* const written = result.raw_write();
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t begin = blocks.begin(i);
    work({.dtype = dtype,
          .x = at(x.raw(), dtype, begin),
          .y = at(y.raw(), dtype, begin),
          .result = at(written, dtype, begin),
          .begin = begin,
          .count = blocks.length(i),
          .mask = mask});
  });
}

}  // namespace

void add_dropout(const Context& ctx, const Tensor& x, const Tensor& s, const Dropout& dropout, const Tensor& z) {
  check_type("add_dropout", "z", z, floating);
  check_operand("add_dropout", "s", s, z.shape(), z.dtype());
  if (x.defined()) check_operand("add_dropout", "x", x, z.shape(), z.dtype());
  for_blocks(ctx, x, s, z, mask_of(dropout), [](const ElementsBlock& block) { add_dropout_block(block); });
}

void accumulate(const Context& ctx, const Tensor& sum, const Tensor& addend) {
  check_type("accumulate", "sum", sum, floating);
  check_operand("accumulate", "addend", addend, sum.shape(), sum.dtype());
  for_blocks(ctx, addend, {}, sum, {}, [](const ElementsBlock& block) { accumulate_block(block); });
}

void scale(const Context& ctx, const Tensor& y, double factor) {
  check_type("scale", "y", y, floating);
  for_blocks(ctx, {}, {}, y, {}, [factor](const ElementsBlock& block) { scale_block(block, factor); });
}

void fill_zero(const Context& ctx, const Tensor& y) {
  auto* data = static_cast<std::byte*>(y.raw_write());
  const Blocks blocks{static_cast<std::int64_t>(y.bytes()), 4 * Blocks::grain};
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    std::memset(data + blocks.begin(i), 0, static_cast<std::size_t>(blocks.length(i)));
  });
}

void activation_forward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                        const Tensor& y) {
  check_type("activation_forward", "y", y, floating);
  check_operand("activation_forward", "x", x, y.shape(), y.dtype());
  for_blocks(ctx, x, {}, y, mask_of(dropout),
             [activation](const ElementsBlock& block) { activation_forward_block(activation, block); });
}

void activation_backward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                         const Tensor& dy, const Tensor& dx) {
  check_type("activation_backward", "dx", dx, floating);
  check_operand("activation_backward", "x", x, dx.shape(), dx.dtype());
  check_operand("activation_backward", "dy", dy, dx.shape(), dx.dtype());
  for_blocks(ctx, x, dy, dx, mask_of(dropout),
             [activation](const ElementsBlock& block) { activation_backward_block(activation, block); });
}

void soft_cap_forward(const Context& ctx, double cap, const Tensor& x, const Tensor& y) {
  check_type("soft_cap_forward", "y", y, floating);
  check_operand("soft_cap_forward", "x", x, y.shape(), y.dtype());
  for_blocks(ctx, x, {}, y, {}, [cap](const ElementsBlock& block) { soft_cap_forward_block(cap, block); });
}

void soft_cap_backward(const Context& ctx, double cap, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  check_type("soft_cap_backward", "dx", dx, floating);
  check_operand("soft_cap_backward", "x", x, dx.shape(), dx.dtype());
  check_operand("soft_cap_backward", "dy", dy, dx.shape(), dx.dtype());
  for_blocks(ctx, x, dy, dx, {}, [cap](const ElementsBlock& block) { soft_cap_backward_block(cap, block); });
}

void add_column_sums(const Context& ctx, const Tensor& x, const Tensor& sums) {
  check_type("add_column_sums", "x", x, floating);
  require(x.shape().rank() == 2, "add_column_sums: x is {}, expected [rows, width]", x.shape());
  const std::int64_t width = x.dim(1);
  check_operand("add_column_sums", "sums", sums, {width}, accumulator_of(x.dtype()));
  const Blocks blocks = PartialSums::blocks_of(x.dim(0), width);
  PartialSums partial(x.dtype(), blocks.count(), width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    column_sums_block(x.dtype(), at(x.raw(), x.dtype(), blocks.begin(i) * width), blocks.length(i), width,
                      partial.of(i));
  });
  partial.add_to(sums);
}

double sum_of_squares(const Context& ctx, const Tensor& x) {
  check_type("sum_of_squares", "x", x, {DType::f32, DType::f64});
  const Blocks blocks = Blocks::of_elements(x.count());
  std::vector<double> partial(static_cast<std::size_t>(blocks.count()));
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    sum_of_squares_block(x.dtype(), at(x.raw(), x.dtype(), blocks.begin(i)), blocks.length(i),
                         &partial[static_cast<std::size_t>(i)]);
  });
  return std::accumulate(partial.begin(), partial.end(), 0.0);
}

}  // namespace rapt::kernels
