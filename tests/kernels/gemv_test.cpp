#include "kernels/gemv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/random.h"
#include "core/tensor.h"
#include "kernels/dispatch.h"

namespace rapt::kernels {

RAPT_DISPATCH(gemv_block, (const GemvBlock& block), (block))
RAPT_DISPATCH(pack_block, (const PackBlock& block), (block))
RAPT_DISPATCH(gemm_block, (const GemmBlock& block), (block))

namespace {

Tensor random_matrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  RandomSequence random(seed);
  const Tensor result = Tensor::empty({rows, columns}, DType::f32);
  for (std::int64_t i = 0; i < result.count(); ++i) result.write<float>()[i] = static_cast<float>(random.normal());
  return result;
}

/// A product of packed rows, and what it is made of.
struct Trial {
  std::int64_t rows, n, k;
  DType dtype;
  std::int64_t padded_k = (k + 31) / 32 * 32;
  Tensor weight = random_matrix(n, k, 1);
  Tensor x = random_matrix(rows, k, 2).to(dtype);
  Tensor bias = random_matrix(1, n, 3);
  Tensor packed = Tensor::zeros({(n + gemv_group - 1) / gemv_group * gemv_group, padded_k}, dtype);

  Trial(std::int64_t rows_, std::int64_t n_, std::int64_t k_, DType dtype_) : rows(rows_), n(n_), k(k_), dtype(dtype_) {
    // In two parts that meet within a group.
    const std::int64_t middle = n / 3;
    for (const auto& [begin, end] : {std::pair{std::int64_t{0}, middle}, {middle, n}}) {
      pack_block({.dtype = dtype,
                  .first = begin,
                  .rows = end - begin,
                  .k = k,
                  .padded_k = padded_k,
                  .weight = weight.data<float>() + begin * k,
                  .packed = packed.raw_write()});
    }
  }

  std::vector<float> multiply(std::int64_t depth_at_once, std::int64_t columns_at_once) const {
    std::vector<float> y(static_cast<std::size_t>(rows * n), 1.0f);
    for (std::int64_t begin = 0; begin < n; begin += columns_at_once) {
      gemv_block({.dtype = dtype,
                  .x_dtype = dtype,
                  .result = DType::f32,
                  .rows = rows,
                  .n = n,
                  .k = k,
                  .padded_k = padded_k,
                  .depth_at_once = depth_at_once,
                  .begin = begin,
                  .end = std::min(n, begin + columns_at_once),
                  .x = x.raw(),
                  .weight = packed.raw(),
                  .bias = bias.data<float>(),
                  .accumulate = true,
                  .y = y.data()});
    }
    return y;
  }

  /// In f64, of the numbers as they are multiplied.
  std::vector<double> expected() const {
    const Tensor w = weight.to(dtype).to(DType::f64), a = x.to(DType::f64);
    std::vector<double> y;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < n; ++column) {
        double sum = 1.0 + static_cast<double>(bias.data<float>()[column]);
        for (std::int64_t i = 0; i < k; ++i) sum += a.data<double>()[row * k + i] * w.data<double>()[column * k + i];
        y.push_back(sum);
      }
    }
    return y;
  }
};

constexpr DType types[] = {DType::f32, DType::bf16};

TEST(Gemv, IsThePlainProductForAnySplitOfTheDepth) {
  for (const DType dtype : types) {
    for (const std::int64_t rows : {1, 2, 3, 4}) {
      for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {33, 37}, {64, 96}, {200, 576}}) {
        const Trial trial(rows, n, k, dtype);
        const std::vector<double> expected = trial.expected();
        for (const std::int64_t depth : {k, std::int64_t{64}, std::int64_t{512}}) {
          const std::vector<float> y = trial.multiply(depth, n);
          for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_NEAR(static_cast<double>(y[i]), expected[i], 1e-5 * std::sqrt(static_cast<double>(k)) * 6)
                << name_of(dtype) << " " << rows << " x " << n << " x " << k << ", depth " << depth << ", " << i;
          }
        }
      }
    }
  }
}

TEST(Gemv, ColumnsHaveTheSameBitsInAnyShares) {
  for (const DType dtype : types) {
    const Trial trial(2, 200, 576, dtype);
    const std::vector<float> whole = trial.multiply(512, 200);
    for (const std::int64_t columns : {gemv_columns, gemv_group, 3 * gemv_columns}) {
      EXPECT_EQ(trial.multiply(512, columns), whole) << name_of(dtype) << " " << columns;
    }
  }
}

/// So that a row is the same among few and among many.
TEST(GemmBlock, HasTheBitsOfGemv) {
  for (const DType dtype : types) {
    // There, pairs of bf16 are multiplied by one instruction, and oneDNN makes the products of many rows.
    if (dtype == DType::bf16 && isa() == Isa::avx512) continue;
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {33, 37}, {64, 96}, {200, 576}}) {
      const Trial trial(4, n, k, dtype);
      const Tensor x = trial.x.to(DType::f32);
      const Tensor rows = Tensor::zeros({4, trial.padded_k}, DType::f32);
      for (std::int64_t row = 0; row < 4; ++row)
        std::copy_n(x.data<float>() + row * k, k, rows.write<float>() + row * trial.padded_k);
      std::vector<float> y(static_cast<std::size_t>(4 * n), 1.0f);
      for (std::int64_t begin = 0; begin < n; begin += gemv_group) {
        gemm_block({.dtype = dtype,
                    .rows = 4,
                    .n = n,
                    .padded_k = trial.padded_k,
                    .begin = begin,
                    .x = rows.data<float>(),
                    .weight = trial.packed.raw(),
                    .bias = trial.bias.data<float>(),
                    .accumulate = true,
                    .y = y.data()});
      }
      EXPECT_EQ(y, trial.multiply(k, n)) << name_of(dtype) << " " << n << " x " << k;
    }
  }
}

TEST(PackBlock, TransposedIsTheTransposePacked) {
  for (const DType dtype : types) {
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{3, 5}, {70, 130}, {128, 64}}) {
      const Tensor weight = random_matrix(n, k, 1);
      const Tensor turned = Tensor::empty({k, n}, DType::f32);
      for (std::int64_t i = 0; i < n * k; ++i) turned.write<float>()[i % k * n + i / k] = weight.data<float>()[i];
      const std::int64_t padded = n + n % 2;
      const Shape shape{(k + gemv_group - 1) / gemv_group * gemv_group, padded};
      const Tensor expected = Tensor::zeros(shape, dtype);
      pack_block({.dtype = dtype,
                  .rows = k,
                  .k = n,
                  .padded_k = padded,
                  .weight = turned.data<float>(),
                  .packed = expected.raw_write()});
      const Tensor packed = Tensor::zeros(shape, dtype);
      const std::int64_t middle = n / 4 * 2;
      for (const auto& [begin, end] : {std::pair{std::int64_t{0}, middle}, {middle, n}}) {
        pack_block({.dtype = dtype,
                    .transposed = true,
                    .first = begin,
                    .rows = end - begin,
                    .k = k,
                    .padded_k = padded,
                    .weight = weight.data<float>() + begin * k,
                    .packed = packed.raw_write()});
      }
      EXPECT_EQ(std::memcmp(packed.raw(), expected.raw(), expected.bytes()), 0) << name_of(dtype) << " " << n;
    }
  }
}

}  // namespace
}  // namespace rapt::kernels
