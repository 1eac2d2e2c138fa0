#include "kernels/gated.h"

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(gated_forward_block, (const GatedBlock& block), (block))
RAPT_DISPATCH(gated_backward_block, (const GatedBlock& block), (block))

namespace {

void check(const char* kernel, const Tensor& x, const char* name, const Tensor& y) {
  check_type(kernel, "x", x, {DType::f32, DType::bf16, DType::f64});
  require(x.shape().rank() == 2 && x.dim(1) % 2 == 0, "{}: x is {}, expected [rows, 2 * width]", kernel, x.shape());
  check_operand(kernel, name, y, {x.dim(0), x.dim(1) / 2}, x.dtype());
}

/// Calls work(block) for blocks of rows.
template <typename Work>
void for_rows(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout, const Tensor& dy,
              const Tensor& result, Work work) {
  const DType dtype = x.dtype();
  const std::int64_t width = x.dim(1) / 2;
  const DropoutMask mask = mask_of(dropout);
  void* const written = result.raw_write();
  const Blocks blocks = Blocks::of_rows(x.dim(0), width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    work({.activation = activation,
          .dtype = dtype,
          .first_row = row,
          .rows = blocks.length(i),
          .width = width,
          .x = at(x.raw(), dtype, row * 2 * width),
          .dy = at(dy.raw(), dtype, row * width),
          .result = at(written, dtype, row * result.dim(1)),
          .mask = mask});
  });
}

}  // namespace

void gated_forward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                   const Tensor& y) {
  check("gated_forward", x, "y", y);
  for_rows(ctx, activation, x, dropout, {}, y, [](const GatedBlock& block) { gated_forward_block(block); });
}

void gated_backward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                    const Tensor& dy, const Tensor& dx) {
  check("gated_backward", x, "dy", dy);
  check_operand("gated_backward", "dx", dx, x.shape(), x.dtype());
  for_rows(ctx, activation, x, dropout, dy, dx, [](const GatedBlock& block) { gated_backward_block(block); });
}

}  // namespace rapt::kernels
