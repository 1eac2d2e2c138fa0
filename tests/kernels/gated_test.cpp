#include "kernels/gated.h"

#include "kernels/elementwise.h"
#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

const Dropout dropout{.probability = 0.1f, .key = {.low = 5, .high = 6}};
constexpr Activation activations[] = {Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu};

Tensor columns_of(const Tensor& x, std::int64_t begin, std::int64_t end) {
  const Tensor result = Tensor::empty({x.dim(0), end - begin}, x.dtype());
  const Columns columns = x.columns(begin, end);
  auto* to = static_cast<std::byte*>(result.raw_write());
  for (std::int64_t row = 0; row < x.dim(0); ++row, to += columns.bytes)
    std::memcpy(to, columns.row(row), columns.bytes);
  return result;
}

TEST(Gated, IsTheActivationOfOneHalfTimesTheOther) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      for (const Activation activation : activations) {
        const Tensor x = random_tensor({shape[0], 2 * shape[1]}, dtype, 1, 2);
        const Tensor y = Tensor::empty(shape, dtype);
        gated_forward(ctx, activation, x, dropout, y);
        // The activation itself has its own tests, in f64 here.
        const Tensor gate = columns_of(x, 0, shape[1]).to(DType::f64);
        activation_forward(ctx, activation, gate, {}, gate);
        Values expected = values_of(gate);
        const Values up = values_of(columns_of(x, shape[1], 2 * shape[1]));
        for (std::size_t i = 0; i < expected.size(); ++i)
          expected[i] *= up[i] * dropout_factor(dropout, static_cast<std::int64_t>(i));
        const double wide = roundoff(accumulator(dtype));
        expect_close(y, expected, roundoff(dtype) + 8 * wide, 32 * wide);
      }
    }
  }
}

TEST(Gated, GradientsMatchDifferences) {
  const Context ctx;
  for (const Activation activation : activations) {
    const Tensor x = random_tensor({5, 2 * 37}, DType::f64, 1);
    const Tensor dy = random_tensor({5, 37}, DType::f64, 2);
    const Tensor y = Tensor::empty(dy.shape(), DType::f64);
    const Tensor dx = Tensor::empty(x.shape(), DType::f64);
    gated_backward(ctx, activation, x, dropout, dy, dx);
    expect_gradient(x, dx, [&] {
      gated_forward(ctx, activation, x, dropout, y);
      return dot(y, dy);
    });
  }
}

TEST(Gated, SameBitsForAnyNumberOfThreads) {
  for (const DType dtype : floating) {
    const Tensor x = random_tensor({300, 2 * 513}, dtype, 1);
    const Tensor dy = random_tensor({300, 513}, dtype, 2);
    expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
      const Tensor y = Tensor::empty(dy.shape(), dtype);
      const Tensor dx = Tensor::empty(x.shape(), dtype);
      gated_forward(ctx, Activation::silu, x, dropout, y);
      gated_backward(ctx, Activation::silu, x, dropout, dy, dx);
      return {y, dx};
    });
  }
}

TEST(Gated, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const Tensor y = Tensor::empty({2, 4}, DType::f32);
  expect_error("expected [rows, 2 * width]", [&] {
    gated_forward(ctx, Activation::silu, Tensor::zeros({2, 7}, DType::f32), {}, y);
  });
  expect_error("y", [&] { gated_forward(ctx, Activation::silu, Tensor::zeros({2, 10}, DType::f32), {}, y); });
}

}  // namespace
}  // namespace rapt::kernels
