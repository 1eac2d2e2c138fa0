#include "kernels/elementwise.h"

#include <limits>

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

const Dropout dropout{.probability = 0.1f, .key = {.low = 123, .high = 456}};
const std::vector<Dropout> dropouts = {{}, dropout, {.probability = 0.5f, .key = {.low = 1, .high = 2}}};
const std::vector<Activation> activations = {Activation::relu, Activation::gelu, Activation::gelu_tanh,
                                             Activation::silu, Activation::tanh};

double cdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

double twice_u(double x) {
  return 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
}

double value(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::gelu:
      return x * cdf(x);
    case Activation::gelu_tanh:
      return x * sigmoid(twice_u(x));
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::tanh:
      return std::tanh(x);
  }
  return 0;
}

double derivative(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return x > 0 ? 1 : 0;
    case Activation::gelu:
      return cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    case Activation::gelu_tanh: {
      const double s = sigmoid(twice_u(x));
      return s + x * s * sigmoid(-twice_u(x)) * 2 * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::silu: {
      const double s = sigmoid(x);
      return s + x * s * sigmoid(-x);
    }
    case Activation::tanh:
      return 1 / (std::cosh(x) * std::cosh(x));
  }
  return 0;
}

/// Finite values of all sizes, dense where the functions bend.
Tensor grid(DType dtype) {
  Values x = {0, -0.0, 1e-30, -1e-30, 20, -20, 1000, -1000};
  for (int i = -12000; i <= 12000; ++i) x.push_back(i * 0.001);
  return tensor_of({static_cast<std::int64_t>(x.size())}, dtype, x);
}

TEST(Elementwise, AddDropoutAddsWhatTheMaskKeeps) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      for (const Dropout& drop : dropouts) {
        const Tensor x = random_tensor(shape, dtype, 1);
        const Tensor s = random_tensor(shape, dtype, 2);
        const Values a = values_of(x);
        const Values b = values_of(s);
        Values both(a.size());
        Values alone(a.size());
        for (std::size_t i = 0; i < a.size(); ++i) {
          alone[i] = b[i] * dropout_factor(drop, static_cast<std::int64_t>(i));
          both[i] = a[i] + alone[i];
        }
        const Tensor z = Tensor::empty(shape, dtype);
        add_dropout(ctx, x, s, drop, z);
        const double relative = 2.5 * roundoff(dtype);
        expect_close(z, both, relative, 8 * roundoff(accumulator(dtype)));
        add_dropout(ctx, {}, s, drop, z);
        expect_close(z, alone, relative, 0);
        add_dropout(ctx, x, s, drop, s);
        expect_close(s, both, relative, 8 * roundoff(accumulator(dtype)));
      }
    }
  }
}

TEST(Elementwise, DropoutKeepsItsFraction) {
  const Context ctx;
  const Shape shape{1 << 20};
  for (const float probability : {0.0001f, 0.1f, 0.3f, 0.9f, 1.0f}) {
    const Dropout drop{.probability = probability, .key = {.low = 9, .high = 8}};
    const Tensor z = Tensor::empty(shape, DType::f32);
    add_dropout(ctx, {}, constant_tensor(shape, DType::f32, 1), drop, z);
    double kept = 0;
    for (const double v : values_of(z)) kept += v != 0 ? 1 : 0;
    const double n = static_cast<double>(shape.count());
    EXPECT_NEAR(kept / n, drop.kept(), 5 * std::sqrt(drop.kept() * (1 - drop.kept()) / n));
  }
}

TEST(Elementwise, AccumulateAndScale) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      const Tensor sum = random_tensor(shape, dtype, 3);
      const Tensor addend = random_tensor(shape, dtype, 4);
      Values expected = values_of(sum);
      const Values added = values_of(addend);
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += added[i];
      accumulate(ctx, sum, addend);
      expect_close(sum, expected, roundoff(dtype), 4 * roundoff(accumulator(dtype)));

      expected = values_of(sum);
      for (double& v : expected) v *= -0.3;
      scale(ctx, sum, -0.3);
      expect_close(sum, expected, roundoff(dtype) + 2 * roundoff(accumulator(dtype)), 0);
      fill_zero(ctx, sum);
      for (const double v : values_of(sum)) EXPECT_EQ(v, 0);
    }
  }
  const Tensor counts = constant_tensor({70000}, DType::f32, 1);
  fill_zero(ctx, counts);
  for (const double v : values_of(counts)) ASSERT_EQ(v, 0);
}

TEST(Elementwise, ActivationsFollowTheirFormulas) {
  const Context ctx;
  for (const DType dtype : floating) {
    const Tensor x = grid(dtype);
    const Values at = values_of(x);
    const double wide = roundoff(accumulator(dtype));
    for (const Activation activation : activations) {
      Values expected;
      Values slopes;
      for (const double v : at) {
        expected.push_back(value(activation, v));
        slopes.push_back(derivative(activation, v));
      }
      const Tensor y = Tensor::empty(x.shape(), dtype);
      const Tensor slope = Tensor::empty(x.shape(), dtype);
      activation_forward(ctx, activation, x, {}, y);
      activation_backward(ctx, activation, x, {}, constant_tensor(x.shape(), dtype, 1), slope);
      const std::string name = "activation " + std::to_string(static_cast<int>(activation));
      expect_close(y, expected, roundoff(dtype) + 4 * wide, 4 * wide, name);
      expect_close(slope, slopes, roundoff(dtype) + 4 * wide, 12 * wide, name);
    }
  }
}

TEST(Elementwise, SoftCapBoundsAndItsGradientMatchesDifferences) {
  const Context ctx;
  constexpr double cap = 3;
  for (const DType dtype : floating) {
    const Tensor x = grid(dtype);
    Values expected;
    for (const double v : values_of(x)) expected.push_back(cap * std::tanh(v / cap));
    soft_cap_forward(ctx, cap, x, x);
    const double wide = roundoff(accumulator(dtype));
    expect_close(x, expected, roundoff(dtype) + 8 * wide, 4 * wide);
  }
  const Tensor x = random_tensor({5, 70}, DType::f64, 1, 4);
  const Tensor dy = random_tensor(x.shape(), DType::f64, 2);
  const Tensor y = Tensor::empty(x.shape(), DType::f64);
  const Tensor dx = dy.clone();
  soft_cap_backward(ctx, cap, x, dx, dx);
  expect_gradient(x, dx, [&] {
    soft_cap_forward(ctx, cap, x, y);
    return dot(y, dy);
  });
}

TEST(Elementwise, ActivationsPropagateNaN) {
  const Context ctx;
  for (const DType dtype : floating) {
    const Tensor x = constant_tensor({3, 17}, dtype, std::numeric_limits<double>::quiet_NaN());
    for (const Activation activation : activations) {
      const Tensor y = Tensor::empty(x.shape(), dtype);
      activation_forward(ctx, activation, x, {}, y);
      for (const double v : values_of(y)) EXPECT_TRUE(std::isnan(v));
    }
  }
}

TEST(Elementwise, AnElementDoesNotDependOnItsPlace) {
  const Context ctx;
  const Shape shape{1, 128 + 17};
  for (const DType dtype : floating) {
    for (const Activation activation : activations) {
      for (const double at : {-2.7, -0.3, 0.1, 1.9}) {
        const Tensor x = constant_tensor(shape, dtype, at);
        const Tensor y = Tensor::empty(shape, dtype);
        const Tensor dx = Tensor::empty(shape, dtype);
        activation_forward(ctx, activation, x, {}, y);
        activation_backward(ctx, activation, x, {}, x, dx);
        for (const Tensor& result : {y, dx}) {
          const Values values = values_of(result);
          for (const double v : values) EXPECT_EQ(v, values[0]);
        }
      }
    }
  }
}

TEST(Elementwise, ActivationGradientsMatchDifferences) {
  const Context ctx;
  const Shape shape{3, 50};
  for (const Activation activation : activations) {
    const Tensor x = random_tensor(shape, DType::f64, 5, 2);
    const Tensor dy = random_tensor(shape, DType::f64, 6);
    const Tensor y = Tensor::empty(shape, DType::f64);
    const Tensor dx = Tensor::empty(shape, DType::f64);
    activation_backward(ctx, activation, x, dropout, dy, dx);
    expect_gradient(x, dx, [&] {
      activation_forward(ctx, activation, x, dropout, y);
      return dot(y, dy);
    });
  }
}

TEST(Elementwise, ForwardAndBackwardDropTheSameElements) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      const Tensor ones = constant_tensor(shape, dtype, 1);
      const Tensor y = Tensor::empty(shape, dtype);
      const Tensor dx = Tensor::empty(shape, dtype);
      activation_forward(ctx, Activation::relu, ones, dropout, y);
      activation_backward(ctx, Activation::relu, ones, dropout, ones, dx);
      expect_same_bits(y, dx);
      const Tensor z = Tensor::empty(shape, dtype);
      add_dropout(ctx, {}, ones, dropout, z);
      expect_same_bits(y, z);
    }
  }
}

TEST(Elementwise, ActivationsWorkInPlace) {
  const Context ctx;
  for (const DType dtype : floating) {
    const Shape shape{7, 130};
    const Tensor x = random_tensor(shape, dtype, 7);
    const Tensor dy = random_tensor(shape, dtype, 8);
    const Tensor y = Tensor::empty(shape, dtype);
    const Tensor dx = Tensor::empty(shape, dtype);
    activation_backward(ctx, Activation::gelu, x, dropout, dy, dx);
    activation_backward(ctx, Activation::gelu, x, dropout, dy, dy);
    expect_same_bits(dx, dy);
    activation_forward(ctx, Activation::gelu, x, dropout, y);
    activation_forward(ctx, Activation::gelu, x, dropout, x);
    expect_same_bits(x, y);
  }
}

TEST(Elementwise, ColumnSumsAddUpAndAdd) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      const Tensor x = random_tensor(shape, dtype, 9);
      const Tensor sums = random_tensor({shape[1]}, accumulator(dtype), 10);
      Values expected = values_of(sums);
      const Values values = values_of(x);
      for (std::size_t i = 0; i < values.size(); ++i) expected[i % expected.size()] += values[i];
      add_column_sums(ctx, x, sums);
      const double most = 3 + std::sqrt(static_cast<double>(shape[0])) * 6;
      expect_close(sums, expected, 0, 4 * most * roundoff(accumulator(dtype)));
    }
  }
}

TEST(Elementwise, SumOfSquaresIsExactToDouble) {
  const Context ctx;
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : shapes) {
      const Tensor x = random_tensor(shape, dtype, 11);
      long double expected = 0;
      for (const double v : values_of(x)) expected += static_cast<long double>(v) * v;
      const double bound = 1e-13 * static_cast<double>(expected);
      EXPECT_NEAR(sum_of_squares(ctx, x), static_cast<double>(expected), bound);
    }
  }
}

TEST(Elementwise, SumOfSquaresTellsNonFiniteElements) {
  const Context ctx;
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const double bad : {inf, -inf, std::numeric_limits<double>::quiet_NaN()}) {
      for (const std::size_t place : {std::size_t{0}, std::size_t{40}, std::size_t{40000}, std::size_t{70000}}) {
        Values values(70001, 1.0);
        values[place] = bad;
        EXPECT_FALSE(std::isfinite(sum_of_squares(ctx, tensor_of({70001}, dtype, values))));
      }
    }
  }
  EXPECT_TRUE(std::isfinite(sum_of_squares(ctx, constant_tensor({70001}, DType::f32, 3e38))));
}

TEST(Elementwise, SameBitsForAnyNumberOfThreads) {
  const Shape shape{300, 513};
  for (const DType dtype : floating) {
    const Tensor x = random_tensor(shape, dtype, 12);
    const Tensor s = random_tensor(shape, dtype, 13);
    expect_same_for_all_threads([&](const Context& ctx) {
      std::vector<Tensor> results;
      for (int i = 0; i < 3; ++i) results.push_back(Tensor::empty(shape, dtype));
      add_dropout(ctx, x, s, dropout, results[0]);
      activation_forward(ctx, Activation::gelu, x, dropout, results[1]);
      activation_backward(ctx, Activation::gelu, x, dropout, s, results[2]);
      results.push_back(Tensor::zeros({shape[1]}, accumulator(dtype)));
      add_column_sums(ctx, x, results[3]);
      if (dtype != DType::bf16) results.push_back(constant_tensor({1}, DType::f64, sum_of_squares(ctx, x)));
      return results;
    });
  }
}

TEST(Elementwise, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const Tensor a = Tensor::zeros({2, 3}, DType::f32);
  const Tensor b = Tensor::zeros({3, 2}, DType::f32);
  const Tensor c = Tensor::zeros({2, 3}, DType::bf16);
  const Tensor integers = Tensor::zeros({2, 3}, DType::i32);
  expect_error("add_dropout: s is [3, 2] f32, expected [2, 3] f32", [&] { add_dropout(ctx, {}, b, {}, a); });
  expect_error("add_dropout: s is undefined", [&] { add_dropout(ctx, a, {}, {}, a); });
  expect_error("accumulate: addend is [2, 3] bf16", [&] { accumulate(ctx, a, c); });
  expect_error("scale: y holds i32, expected f32 or bf16 or f64", [&] { scale(ctx, integers, 2); });
  expect_error("activation_forward: x is", [&] { activation_forward(ctx, Activation::relu, b, {}, a); });
  expect_error("activation_backward: dy is", [&] { activation_backward(ctx, Activation::relu, a, {}, c, a); });
  expect_error("add_column_sums: sums is", [&] { add_column_sums(ctx, c, Tensor::zeros({3}, DType::bf16)); });
  expect_error("add_column_sums: x is [3]", [&] { add_column_sums(ctx, Tensor::zeros({3}, DType::f32), a); });
  expect_error("sum_of_squares: x holds bf16", [&] { sum_of_squares(ctx, c); });
  const Tensor mapped({}, a.raw_write(), a.shape(), a.dtype(), true);
  expect_error("cannot be written", [&] { scale(ctx, mapped, 2); });
}

}  // namespace
}  // namespace rapt::kernels
