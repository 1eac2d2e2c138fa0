#include "kernels/delta_gates.h"

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"
#include "kernels/partial_sums.h"

namespace rapt::kernels {

RAPT_DISPATCH(delta_gates_forward_block, (const DeltaGatesBlock& block), (block))
RAPT_DISPATCH(delta_gates_backward_block, (const DeltaGatesBlock& block), (block))

namespace {

/// Checks what forward and backward have in common, and gives the number of heads.
std::int64_t check_gates(const char* kernel, const DeltaGates& gates) {
  check_type(kernel, "z", gates.z, {DType::f32, DType::bf16, DType::f64});
  const Shape& shape = gates.z.shape();
  require(shape.rank() == 2 && shape[1] > 0 && shape[1] % 2 == 0, "{}: z is {}, expected [rows, 2 * heads]", kernel,
          shape.text());
  const std::int64_t heads = shape[1] / 2;
  const DType wide = accumulator_of(gates.z.dtype());
  check_operand(kernel, "a_log", gates.a_log, {heads}, wide);
  check_operand(kernel, "dt_bias", gates.dt_bias, {heads}, wide);
  return heads;
}

DeltaGatesBlock block_of(const DeltaGates& gates, std::int64_t row, std::int64_t rows, std::int64_t heads) {
  const DType dtype = gates.z.dtype();
  return {.dtype = dtype,
          .rows = rows,
          .heads = heads,
          .z = at(gates.z.raw(), dtype, row * 2 * heads),
          .a_log = gates.a_log.raw(),
          .dt_bias = gates.dt_bias.raw()};
}

}  // namespace

void delta_gates_forward(const Context& ctx, const DeltaGates& gates) {
  constexpr const char* kernel = "delta_gates_forward";
  const std::int64_t heads = check_gates(kernel, gates);
  const DType wide = accumulator_of(gates.z.dtype());
  check_operand(kernel, "gates", gates.gates, gates.z.shape(), wide);
  void* const written = gates.gates.raw_write();
  const Blocks blocks = Blocks::of_rows(gates.z.dim(0), 2 * heads);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    DeltaGatesBlock block = block_of(gates, blocks.begin(i), blocks.length(i), heads);
    block.gates = at(written, wide, blocks.begin(i) * 2 * heads);
    delta_gates_forward_block(block);
  });
}

void delta_gates_backward(const Context& ctx, const DeltaGates& gates, const DeltaGatesGradient& gradient) {
  constexpr const char* kernel = "delta_gates_backward";
  const std::int64_t heads = check_gates(kernel, gates);
  const DType dtype = gates.z.dtype();
  const DType wide = accumulator_of(dtype);
  check_operand(kernel, "d_gates", gradient.d_gates, gates.z.shape(), wide);
  check_operand(kernel, "dz", gradient.dz, gates.z.shape(), dtype);
  check_operand(kernel, "d_a_log", gradient.d_a_log, {heads}, wide);
  check_operand(kernel, "d_dt_bias", gradient.d_dt_bias, {heads}, wide);
  void* const dz = gradient.dz.raw_write();
  const Blocks blocks = PartialSums::blocks_of(gates.z.dim(0), 2 * heads);
  PartialSums sums(dtype, blocks.count(), 2 * heads);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t first = blocks.begin(i) * 2 * heads;
    DeltaGatesBlock block = block_of(gates, blocks.begin(i), blocks.length(i), heads);
    block.d_gates = at(gradient.d_gates.raw(), wide, first);
    block.dz = at(dz, dtype, first);
    block.d_a_log = sums.of(i);
    block.d_dt_bias = sums.of(i, heads);
    delta_gates_backward_block(block);
  });
  sums.add_to(gradient.d_a_log);
  sums.add_to(gradient.d_dt_bias, heads);
}

}  // namespace rapt::kernels
