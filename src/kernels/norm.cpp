#include "kernels/norm.h"

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"
#include "kernels/partial_sums.h"

namespace rapt::kernels {

RAPT_DISPATCH(layer_norm_forward_block, (const LayerNormBlock& block), (block))
RAPT_DISPATCH(layer_norm_backward_block, (const LayerNormGradientBlock& block), (block))

namespace {

/// What is normalised.
const Tensor& normalised(const LayerNorm& norm) {
  return norm.z.defined() ? norm.z : norm.x;
}

/// Checks what forward and backward have in common.
void check_norm(const char* kernel, const LayerNorm& norm) {
  const Tensor& z = normalised(norm);
  check_type(kernel, "x", z, {DType::f32, DType::bf16, DType::f64});
  require(z.shape().rank() == 2 && z.dim(1) > 0, "{}: x is {}, expected [rows, width]", kernel, z.shape());
  const DType statistics = accumulator_of(z.dtype());
  check_operand(kernel, "weight", norm.weight, {z.dim(1)}, statistics);
  check_operand(kernel, "mean", norm.mean, {z.dim(0)}, statistics);
  check_operand(kernel, "inverse_deviation", norm.inverse_deviation, {z.dim(0)}, statistics);
}

void check_forward(const LayerNorm& norm) {
  constexpr const char* kernel = "layer_norm_forward";
  check_norm(kernel, norm);
  const Shape& shape = norm.x.shape();
  const DType dtype = norm.x.dtype();
  check_operand(kernel, "bias", norm.bias, norm.weight.shape(), accumulator_of(dtype));
  check_operand(kernel, "y", norm.y, shape, dtype);
  if (norm.s.defined()) {
    check_operand(kernel, "s", norm.s, shape, dtype);
    check_operand(kernel, "z", norm.z, shape, dtype);
  } else {
    require(!norm.z.defined() || norm.z.raw() == norm.x.raw(), "{}: without s there is no z but x itself", kernel);
  }
}

void check_backward(const LayerNorm& norm, const LayerNormGradient& gradient) {
  constexpr const char* kernel = "layer_norm_backward";
  check_norm(kernel, norm);
  const Shape& shape = normalised(norm).shape();
  const DType dtype = normalised(norm).dtype();
  check_operand(kernel, "dy", gradient.dy, shape, dtype);
  check_operand(kernel, "dx", gradient.dx, shape, dtype);
  if (gradient.dz_residual.defined()) check_operand(kernel, "dz_residual", gradient.dz_residual, shape, dtype);
  if (gradient.ds.defined()) check_operand(kernel, "ds", gradient.ds, shape, dtype);
  check_operand(kernel, "d_weight", gradient.d_weight, norm.weight.shape(), accumulator_of(dtype));
  check_operand(kernel, "d_bias", gradient.d_bias, norm.weight.shape(), accumulator_of(dtype));
}

}  // namespace

void layer_norm_forward(const Context& ctx, const LayerNorm& norm) {
  check_forward(norm);
  const std::int64_t width = norm.x.dim(1);
  const DType dtype = norm.x.dtype();
  const DType statistics = accumulator_of(dtype);
  const DropoutMask mask = norm.s.defined() ? mask_of(norm.dropout) : DropoutMask{};
  void* const z = norm.s.defined() ? norm.z.raw_write() : const_cast<void*>(norm.x.raw());
  void* const y = norm.y.raw_write();
  void* const mean = norm.mean.raw_write();
  void* const inverse_deviation = norm.inverse_deviation.raw_write();
  const Blocks blocks = Blocks::of_rows(norm.x.dim(0), width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    layer_norm_forward_block({.dtype = dtype,
                              .first_row = row,
                              .rows = blocks.length(i),
                              .width = width,
                              .x = at(norm.x.raw(), dtype, row * width),
                              .s = at(norm.s.raw(), dtype, row * width),
                              .z = at(z, dtype, row * width),
                              .weight = norm.weight.raw(),
                              .bias = norm.bias.raw(),
                              .epsilon = norm.epsilon,
                              .y = at(y, dtype, row * width),
                              .mean = at(mean, statistics, row),
                              .inverse_deviation = at(inverse_deviation, statistics, row),
                              .mask = mask});
  });
}

void layer_norm_backward(const Context& ctx, const LayerNorm& norm, const LayerNormGradient& gradient) {
  check_backward(norm, gradient);
  const Tensor& z = normalised(norm);
  const std::int64_t width = z.dim(1);
  const DType dtype = z.dtype();
  const DType statistics = accumulator_of(dtype);
  const DropoutMask mask = gradient.ds.defined() ? mask_of(norm.dropout) : DropoutMask{};
  void* const dx = gradient.dx.raw_write();
  void* const ds = gradient.ds.raw_write();
  const Blocks blocks = PartialSums::blocks_of(z.dim(0), width);
  PartialSums sums(dtype, blocks.count(), 2 * width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    layer_norm_backward_block({.dtype = dtype,
                               .first_row = row,
                               .rows = blocks.length(i),
                               .width = width,
                               .z = at(z.raw(), dtype, row * width),
                               .weight = norm.weight.raw(),
                               .mean = at(norm.mean.raw(), statistics, row),
                               .inverse_deviation = at(norm.inverse_deviation.raw(), statistics, row),
                               .dy = at(gradient.dy.raw(), dtype, row * width),
                               .residual = at(gradient.dz_residual.raw(), dtype, row * width),
                               .dx = at(dx, dtype, row * width),
                               .ds = at(ds, dtype, row * width),
                               .d_weight = sums.of(i),
                               .d_bias = sums.of(i, width),
                               .mask = mask});
  });
  sums.add_to(gradient.d_weight);
  sums.add_to(gradient.d_bias, width);
}

}  // namespace rapt::kernels
