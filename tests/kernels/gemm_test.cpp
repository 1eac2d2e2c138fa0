#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

namespace rapt::kernels {
namespace {

Tensor random_matrix(Context& ctx, std::int64_t rows, std::int64_t columns, DType dtype, std::uint64_t seed) {
  RandomSequence random(seed);
  const Tensor values = Tensor::empty({rows, columns}, DType::f64);
  for (std::int64_t i = 0; i < values.count(); ++i) values.write<double>()[i] = random.normal();
  // In the arena's memory, which has the room behind the last row that products round up into.
  const Tensor result = ctx.allocate({rows, columns}, dtype);
  const Tensor converted = values.to(dtype);
  std::copy_n(static_cast<const std::byte*>(converted.raw()), converted.bytes(),
              static_cast<std::byte*>(result.raw_write()));
  return result;
}

std::vector<double> numbers(const Tensor& tensor) {
  const Tensor wide = tensor.to(DType::f64);
  const auto values = wide.values<double>();
  return {values.begin(), values.end()};
}

/// c[i, j] = sum_l a(i, l) b(l, j), by plain loops.
template <typename A, typename B>
std::vector<double> product(std::int64_t m, std::int64_t n, std::int64_t k, A a, B b) {
  std::vector<double> c(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += a(i, l) * b(l, j);
      c[static_cast<std::size_t>(i * n + j)] = sum;
    }
  }
  return c;
}

auto element(const std::vector<double>& values, std::int64_t columns) {
  return [&values, columns](std::int64_t row, std::int64_t column) {
    return values[static_cast<std::size_t>(row * columns + column)];
  };
}

/// Sums of k products of standard normal numbers, rounded to the type of the result.
double bound(DType dtype, std::int64_t k, DType result) {
  const double size = 6 * std::sqrt(static_cast<double>(k));
  if (dtype == DType::f64) return 1e-12 * size;
  return size * (result == DType::bf16 ? 0x1p-8 : 1e-5);
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

/// The f32 (f64) weight, and its values as products of `dtype` see them.
struct TestWeight {
  TestWeight(Context& ctx, std::int64_t n, std::int64_t k, DType dtype)
      : tensor(random_matrix(ctx, n, k, dtype == DType::f64 ? DType::f64 : DType::f32, 2)),
        rounded(numbers(tensor.to(dtype))) {
    weight.set(tensor);
  }
  Tensor tensor;
  std::vector<double> rounded;
  GemmWeight weight;
};

struct Case {
  std::int64_t m, n, k;
  DType dtype;
};

class Gemm : public ::testing::TestWithParam<Case> {
 protected:
  Context ctx{{.threads = 2}};
};

TEST_P(Gemm, ForwardIsThePlainProduct) {
  const auto [m, n, k, dtype] = GetParam();
  const Tensor x = random_matrix(ctx, m, k, dtype, 1);
  const TestWeight w(ctx, n, k, dtype);
  const Tensor bias = random_matrix(ctx, 1, n, dtype == DType::f64 ? DType::f64 : DType::f32, 3).reshape({n});
  const std::vector<double> xs = numbers(x);
  const std::vector<double> bs = numbers(bias);
  const auto at = element(w.rounded, k);
  std::vector<double> expected =
      product(m, n, k, element(xs, k), [&](std::int64_t l, std::int64_t j) { return at(j, l); });

  const Tensor y = ctx.allocate({m, n}, dtype);
  gemm(ctx, x, w.weight, {}, y);
  expect_near(numbers(y), expected, bound(dtype, k, dtype));
  gemm(ctx, x, w.weight, {.accumulate = true}, y);
  std::vector<double> twice = expected;
  for (double& value : twice) value *= 2;
  expect_near(numbers(y), twice, 3 * bound(dtype, k, dtype));

  gemm(ctx, x, w.weight, {.bias = bias, .relu = true}, y);
  for (std::size_t i = 0; i < expected.size(); ++i)
    expected[i] = std::max(0.0, expected[i] + bs[i % static_cast<std::size_t>(n)]);
  expect_near(numbers(y), expected, bound(dtype, k, dtype));
}

TEST_P(Gemm, GradientsArePlainProducts) {
  const auto [m, n, k, dtype] = GetParam();
  const Tensor x = random_matrix(ctx, m, k, dtype, 1);
  const Tensor dy = random_matrix(ctx, m, n, dtype, 4);
  const TestWeight w(ctx, n, k, dtype);
  const std::vector<double> xs = numbers(x);
  const std::vector<double> dys = numbers(dy);

  const Tensor dx = ctx.allocate({m, k}, dtype);
  gemm_input_gradient(ctx, dy, w.weight, false, dx);
  expect_near(numbers(dx), product(m, k, n, element(dys, n), element(w.rounded, k)), bound(dtype, n, dtype));

  const DType sums = dtype == DType::f64 ? DType::f64 : DType::f32;
  const Tensor dw = Tensor::empty({n, k}, sums);
  gemm_weight_gradient(ctx, dy, x, false, dw);
  const auto dy_at = element(dys, n);
  std::vector<double> expected = product(
      n, k, m, [&](std::int64_t j, std::int64_t i) { return dy_at(i, j); }, element(xs, k));
  expect_near(numbers(dw), expected, bound(dtype, m, sums));
  gemm_weight_gradient(ctx, dy, x, true, dw);
  for (double& value : expected) value *= 2;
  expect_near(numbers(dw), expected, 2 * bound(dtype, m, sums));
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemm,
                         ::testing::Values(Case{1, 1, 1, DType::f32}, Case{1, 17, 33, DType::f32},
                                           Case{100, 64, 48, DType::f32}, Case{130, 200, 96, DType::f32},
                                           Case{1, 17, 33, DType::bf16}, Case{100, 64, 48, DType::bf16},
                                           Case{130, 200, 96, DType::bf16}, Case{63, 96, 130, DType::bf16},
                                           Case{7, 5, 9, DType::f64}),
                         [](const auto& instance) {
                           const Case& c = instance.param;
                           return std::string(name_of(c.dtype)) + "_" + std::to_string(c.m) + "x" +
                                  std::to_string(c.n) + "x" + std::to_string(c.k);
                         });

TEST(GemmRows, DoNotDependOnTheirNumberNorOnTheThreads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Context one({.threads = 1});
    Context two({.threads = 2});
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{96, 64}, {512, 128}, {1000, 256}, {70, 37}}) {
      const TestWeight w(one, n, k, dtype);
      const Tensor x = random_matrix(one, 400, k, dtype, 5);
      const Tensor all = one.allocate({400, n}, dtype);
      gemm(one, x, w.weight, {}, all);
      for (const std::int64_t rows : {1, 2, 5, 7, 17, 64, 100, 400}) {
        for (Context* ctx : {&one, &two}) {
          const Tensor y = ctx->allocate({rows, n}, dtype);
          gemm(*ctx, x.rows(0, rows), w.weight, {}, y);
          EXPECT_EQ(numbers(y), numbers(all.rows(0, rows))) << rows << " rows, " << ctx->threads() << " threads";
        }
      }
    }
  }
}

TEST(GemmWeightGradient, IsTheSameForAnyNumberOfThreads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1500, 256, 128}, {64, 32, 16}, {40, 96, 32}}) {
      Context one({.threads = 1});
      const Tensor x = random_matrix(one, m, k, dtype, 5);
      const Tensor dy = random_matrix(one, m, n, dtype, 6);
      const Tensor expected = Tensor::empty({n, k}, DType::f32);
      gemm_weight_gradient(one, dy, x, false, expected);
      for (const int threads : {2, 3}) {
        const Context several({.threads = threads});
        const Tensor dw = Tensor::empty({n, k}, DType::f32);
        gemm_weight_gradient(several, dy, x, false, dw);
        EXPECT_EQ(numbers(dw), numbers(expected)) << m << " " << n << " " << k << ", " << threads << " threads";
      }
    }
  }
}

TEST(GemmWeight, IsPackedAgainWhenItIsSet) {
  Context ctx;
  const Tensor x = random_matrix(ctx, 3, 8, DType::f32, 1);
  const Tensor values = Tensor::zeros({4, 8}, DType::f32);
  GemmWeight weight;
  weight.set(values);
  const Tensor y = ctx.allocate({3, 4}, DType::f32);
  gemm(ctx, x, weight, {}, y);
  EXPECT_EQ(numbers(y), std::vector<double>(12, 0.0));
  values.write<float>()[0] = 1;
  weight.set(values);
  gemm(ctx, x, weight, {}, y);
  EXPECT_EQ(y.data<float>()[0], x.data<float>()[0]);
}

TEST(GemmWeight, PackedInPartsIsPackedAsAWhole) {
  constexpr std::int64_t n = 13001;
  constexpr std::int64_t k = 37;
  Context ctx;
  const Tensor values = random_matrix(ctx, n, k, DType::f32, 1);
  std::int64_t most = 0;
  const auto read_rows = [&](std::span<const std::int32_t> rows) {
    most = std::max<std::int64_t>(most, std::ssize(rows));
    Tensor part = Tensor::empty({std::ssize(rows), k}, DType::f32);
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::copy_n(values.data<float>() + rows[i] * k, k, part.write<float>() + static_cast<std::int64_t>(i) * k);
    return part;
  };
  for (const DType dtype : {DType::f32, DType::bf16}) {
    GemmWeight whole;
    whole.set(values);
    GemmWeight in_parts;
    in_parts.set(
        values.shape(), [&]() -> Tensor { fail("the whole was asked for"); }, read_rows);
    for (const std::int64_t m : {1, 70}) {
      const Tensor x = random_matrix(ctx, m, k, dtype, 2);
      const Tensor expected = ctx.allocate({m, n}, DType::f32);
      const Tensor y = ctx.allocate({m, n}, DType::f32);
      gemm(ctx, x, whole, {}, expected);
      gemm(ctx, x, in_parts, {}, y);
      EXPECT_EQ(numbers(y), numbers(expected)) << name_of(dtype) << " " << m;
      const Tensor dy = random_matrix(ctx, m, n, dtype, 3);
      const Tensor expected_dx = ctx.allocate({m, k}, dtype);
      const Tensor dx = ctx.allocate({m, k}, dtype);
      gemm_input_gradient(ctx, dy, whole, false, expected_dx);
      gemm_input_gradient(ctx, dy, in_parts, false, dx);
      EXPECT_EQ(numbers(dx), numbers(expected_dx)) << name_of(dtype) << " " << m;
    }
  }
  EXPECT_LT(most, n / 2);
}

/// However it is packed.
TEST(GemmWeight, ThatIsExactInBf16GivesTheSameProductsInF32) {
  Context ctx;
  for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{200, 96}, {70, 37}}) {
    const Tensor exact = random_matrix(ctx, n, k, DType::bf16, 1);
    const Tensor wide = exact.to(DType::f32);
    GemmWeight known;
    known.set(
        exact.shape(), [&] { return exact; }, {}, DType::bf16);
    GemmWeight plain;
    plain.set(wide);
    EXPECT_EQ(plain.packed_type(DType::f32), DType::f32);
    EXPECT_EQ(known.packed_type(DType::bf16), DType::bf16);
    for (const std::int64_t m : {1, 3, 70}) {
      const Tensor x = random_matrix(ctx, m, k, DType::f32, 2);
      const Tensor expected = ctx.allocate({m, n}, DType::f32);
      const Tensor y = ctx.allocate({m, n}, DType::f32);
      gemm(ctx, x, plain, {}, expected);
      gemm(ctx, x, known, {}, y);
      EXPECT_EQ(numbers(y), numbers(expected)) << m << " x " << n << " x " << k;
    }
  }
}

TEST(GemmWeight, RefusesShapesThatDoNotFit) {
  Context ctx;
  GemmWeight weight;
  weight.set(Tensor::zeros({4, 8}, DType::f32));
  EXPECT_THROW(gemm(ctx, Tensor::zeros({3, 7}, DType::f32), weight, {}, Tensor::zeros({3, 4}, DType::f32)), Error);
  EXPECT_THROW(weight.set(Tensor::zeros({4}, DType::f32)), Error);
}

}  // namespace
}  // namespace rapt::kernels
