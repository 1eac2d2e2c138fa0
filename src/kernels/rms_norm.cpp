#include "kernels/rms_norm.h"

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"
#include "kernels/partial_sums.h"

namespace rapt::kernels {

RAPT_DISPATCH(rms_norm_forward_block, (const RmsNormBlock& block), (block))
RAPT_DISPATCH(rms_norm_backward_block, (const RmsNormGradientBlock& block), (block))

namespace {

void check_norm(const char* kernel, const RmsNorm& norm) {
  check_type(kernel, "x", norm.x, {DType::f32, DType::bf16, DType::f64});
  require(norm.x.shape().rank() == 2, "{}: x is {}, expected [rows, columns]", kernel, norm.x.shape());
  const DType statistics = accumulator_of(norm.x.dtype());
  check_type(kernel, "weight", norm.weight, {statistics});
  require(norm.weight.shape().rank() == 1 && norm.weight.dim(0) > 0, "{}: weight is {}, expected [width]", kernel,
          norm.weight.shape());
  const std::int64_t end = norm.begin + norm.groups * norm.weight.dim(0);
  require(norm.begin >= 0 && norm.groups >= 1 && end <= norm.x.dim(1),
          "{}: {} groups of {} from column {} on do not fit rows of {}", kernel, norm.groups, norm.weight.dim(0),
          norm.begin, norm.x.dim(1));
  check_operand(kernel, "inverse_rms", norm.inverse_rms, {norm.x.dim(0), norm.groups}, statistics);
}

}  // namespace

void rms_norm_forward(const Context& ctx, const RmsNorm& norm) {
  constexpr const char* kernel = "rms_norm_forward";
  check_norm(kernel, norm);
  check_operand(kernel, "y", norm.y, norm.x.shape(), norm.x.dtype());
  const DType dtype = norm.x.dtype();
  const std::int64_t stride = norm.x.dim(1);
  void* const y = norm.y.raw_write();
  void* const inverse_rms = norm.inverse_rms.raw_write();
  const Blocks blocks = Blocks::of_rows(norm.x.dim(0), norm.groups * norm.weight.dim(0));
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    rms_norm_forward_block({.dtype = dtype,
                            .rows = blocks.length(i),
                            .stride = stride,
                            .groups = norm.groups,
                            .width = norm.weight.dim(0),
                            .x = at(norm.x.raw(), dtype, row * stride + norm.begin),
                            .weight = norm.weight.raw(),
                            .weight_offset = norm.weight_offset,
                            .epsilon = norm.epsilon,
                            .y = at(y, dtype, row * stride + norm.begin),
                            .inverse_rms = at(inverse_rms, accumulator_of(dtype), row * norm.groups)});
  });
}

void rms_norm_backward(const Context& ctx, const RmsNorm& norm, const RmsNormGradient& gradient) {
  constexpr const char* kernel = "rms_norm_backward";
  check_norm(kernel, norm);
  const DType dtype = norm.x.dtype();
  check_operand(kernel, "dy", gradient.dy, norm.x.shape(), dtype);
  check_operand(kernel, "dx", gradient.dx, norm.x.shape(), dtype);
  check_operand(kernel, "d_weight", gradient.d_weight, norm.weight.shape(), accumulator_of(dtype));
  const std::int64_t stride = norm.x.dim(1);
  const std::int64_t width = norm.weight.dim(0);
  void* const dx = gradient.dx.raw_write();
  const Blocks blocks = PartialSums::blocks_of(norm.x.dim(0), norm.groups * width);
  PartialSums sums(dtype, blocks.count(), width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    const std::int64_t first = row * stride + norm.begin;
    rms_norm_backward_block({.dtype = dtype,
                             .rows = blocks.length(i),
                             .stride = stride,
                             .groups = norm.groups,
                             .width = width,
                             .x = at(norm.x.raw(), dtype, first),
                             .weight = norm.weight.raw(),
                             .weight_offset = norm.weight_offset,
                             .inverse_rms = at(norm.inverse_rms.raw(), accumulator_of(dtype), row * norm.groups),
                             .dy = at(gradient.dy.raw(), dtype, first),
                             .dx = at(dx, dtype, first),
                             .d_weight = sums.of(i)});
  });
  sums.add_to(gradient.d_weight);
}

}  // namespace rapt::kernels
