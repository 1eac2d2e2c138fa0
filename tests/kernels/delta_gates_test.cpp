#include "kernels/delta_gates.h"

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

/// Rows and heads: less than a vector, around whole ones, and many blocks.
const std::vector<Shape> sizes = {{0, 3}, {1, 1}, {7, 4}, {5, 16}, {3, 37}, {5000, 12}};

DeltaGates random_gates(const Shape& size, DType dtype) {
  const Shape shape{size[0], 2 * size[1]};
  const DType wide = accumulator(dtype);
  return {.z = random_tensor(shape, dtype, 1, 3),
          .a_log = random_tensor({size[1]}, wide, 2),
          .dt_bias = random_tensor({size[1]}, wide, 3, 2),
          .gates = Tensor::empty(shape, wide)};
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// In f64: the gates, dz, and what is added to d_a_log and d_dt_bias.
struct Reference {
  Values gates, dz, d_a_log, d_dt_bias;
};
Reference reference(const DeltaGates& operands, const Tensor& d_gates, const Tensor& d_a_log, const Tensor& d_dt_bias) {
  const Values z = values_of(operands.z), a_log = values_of(operands.a_log), dt_bias = values_of(operands.dt_bias);
  const Values gradient = values_of(d_gates);
  Reference result{Values(z.size()), Values(z.size()), values_of(d_a_log), values_of(d_dt_bias)};
  const std::size_t heads = a_log.size();
  for (std::size_t begin = 0; begin < z.size(); begin += 2 * heads) {
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t a = begin + h, b = a + heads;
      const double u = z[a] + dt_bias[h];
      const double step = std::max(u, 0.0) + std::log1p(std::exp(-std::abs(u)));
      const double log_alpha = -std::exp(a_log[h]) * step;
      result.gates[a] = std::exp(log_alpha);
      result.gates[b] = sigmoid(z[b]);
      result.dz[a] = gradient[a] * result.gates[a] * -std::exp(a_log[h]) * sigmoid(u);
      result.dz[b] = gradient[b] * result.gates[b] * (1 - result.gates[b]);
      result.d_a_log[h] += gradient[a] * result.gates[a] * log_alpha;
      result.d_dt_bias[h] += result.dz[a];
    }
  }
  return result;
}

TEST(DeltaGates, FollowTheirFormulas) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& size : sizes) {
      const DeltaGates gates = random_gates(size, dtype);
      const DType wide_type = accumulator(dtype);
      const Tensor d_gates = random_tensor(gates.z.shape(), wide_type, 4);
      const Tensor dz = Tensor::empty(gates.z.shape(), dtype);
      const Tensor d_a_log = random_tensor({size[1]}, wide_type, 5);
      const Tensor d_dt_bias = random_tensor({size[1]}, wide_type, 6);
      const Reference expected = reference(gates, d_gates, d_a_log, d_dt_bias);
      const double wide = roundoff(wide_type);
      delta_gates_forward(ctx, gates);
      expect_close(gates.gates, expected.gates, 32 * wide, 16 * wide, "gates");
      delta_gates_backward(ctx, gates, {.d_gates = d_gates, .dz = dz, .d_a_log = d_a_log, .d_dt_bias = d_dt_bias});
      expect_close(dz, expected.dz, roundoff(dtype) + 32 * wide, 32 * wide, "dz");
      const double sums = std::sqrt(static_cast<double>(size[0])) + 16;
      expect_close(d_a_log, expected.d_a_log, 64 * wide, 16 * sums * wide, "d_a_log");
      expect_close(d_dt_bias, expected.d_dt_bias, 64 * wide, 16 * sums * wide, "d_dt_bias");
    }
  }
}

/// They stay within [0, 1] where they have no choice left, and so do their gradients among numbers.
TEST(DeltaGates, AreNumbersFarOut) {
  const Context ctx;
  for (const DType dtype : floating) {
    const DeltaGates gates{.z = tensor_of({2, 4}, dtype, {-1000, 1000, -1000, 1000, 0, 100, -90, 90}),
                           .a_log = tensor_of({2}, accumulator(dtype), {-100, 5}),
                           .dt_bias = tensor_of({2}, accumulator(dtype), {0, 0}),
                           .gates = Tensor::empty({2, 4}, accumulator(dtype))};
    delta_gates_forward(ctx, gates);
    expect_close(gates.gates, {1, 0, 0, 1, 1, 0, 0, 1}, 0, 1e-6);
    const Tensor ones = constant_tensor({2, 4}, accumulator(dtype), 1);
    const Tensor dz = Tensor::empty({2, 4}, dtype);
    const Tensor d_a_log = Tensor::zeros({2}, accumulator(dtype)), d_dt_bias = Tensor::zeros({2}, accumulator(dtype));
    delta_gates_backward(ctx, gates, {.d_gates = ones, .dz = dz, .d_a_log = d_a_log, .d_dt_bias = d_dt_bias});
    expect_close(dz, Values(8, 0), 0, 1e-6);
    expect_close(d_a_log, {0, 0}, 0, 1e-6);
  }
}

TEST(DeltaGates, SameBitsForAnyNumberOfThreads) {
  for (const DType dtype : floating) {
    const DeltaGates gates = random_gates({5000, 12}, dtype);
    const Tensor d_gates = random_tensor(gates.z.shape(), accumulator(dtype), 4);
    expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
      DeltaGates mine = gates;
      mine.gates = Tensor::empty(gates.z.shape(), accumulator(dtype));
      const Tensor dz = Tensor::empty(gates.z.shape(), dtype);
      const Tensor d_a_log = Tensor::zeros({12}, accumulator(dtype)), d_dt_bias = d_a_log.clone();
      delta_gates_forward(ctx, mine);
      delta_gates_backward(ctx, mine, {.d_gates = d_gates, .dz = dz, .d_a_log = d_a_log, .d_dt_bias = d_dt_bias});
      return {mine.gates, dz, d_a_log, d_dt_bias};
    });
  }
}

TEST(DeltaGates, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  DeltaGates gates = random_gates({4, 3}, DType::bf16);
  expect_error("expected [rows, 2 * heads]", [&] {
    DeltaGates wrong = gates;
    wrong.z = Tensor::zeros({4, 5}, DType::bf16);
    delta_gates_forward(ctx, wrong);
  });
  expect_error("gates is", [&] {
    DeltaGates wrong = gates;
    wrong.gates = Tensor::zeros({4, 6}, DType::bf16);
    delta_gates_forward(ctx, wrong);
  });
  gates.dt_bias = Tensor::zeros({2}, DType::f32);
  expect_error("dt_bias is", [&] { delta_gates_forward(ctx, gates); });
}

}  // namespace
}  // namespace rapt::kernels
