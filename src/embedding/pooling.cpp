#include "embedding/pooling.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/convert.h"

namespace rapt::embedding {
namespace {

/// The vectors of the tokens of one sequence.
struct Rows {
  const float* first;
  std::size_t count;
  std::size_t width;

  std::span<const float> operator[](std::size_t i) const { return {first + i * width, width}; }
};

/// sum weight(i) h_i / divisor.
template <typename Weight>
void mean(const Rows& rows, const Weight& weight, float divisor, std::span<float> result) {
  std::ranges::fill(result, 0.0f);
  for (std::size_t i = 0; i < rows.count; ++i) {
    const float factor = weight(i);
    for (std::size_t j = 0; j < rows.width; ++j) result[j] += factor * rows[i][j];
  }
  for (float& x : result) x /= divisor;
}

void largest(const Rows& rows, std::span<float> result) {
  std::ranges::copy(rows[0], result.begin());
  for (std::size_t i = 1; i < rows.count; ++i) {
    for (std::size_t j = 0; j < rows.width; ++j) result[j] = std::max(result[j], rows[i][j]);
  }
}

void pool_sequence(Pooling pooling, const Rows& rows, std::span<float> result) {
  const auto n = static_cast<float>(rows.count);
  const auto one = [](std::size_t) { return 1.0f; };
  const auto place = [](std::size_t i) { return static_cast<float>(i + 1); };
  switch (pooling) {
    case Pooling::cls:
      std::ranges::copy(rows[0], result.begin());
      break;
    case Pooling::max:
      largest(rows, result);
      break;
    case Pooling::mean:
      mean(rows, one, n, result);
      break;
    case Pooling::mean_sqrt_length:
      mean(rows, one, std::sqrt(n), result);
      break;
    case Pooling::weighted_mean:
      mean(rows, place, n * (n + 1) / 2, result);
      break;
    case Pooling::last:
      std::ranges::copy(rows[rows.count - 1], result.begin());
      break;
  }
}

Tensor in_f32(Context& ctx, const Tensor& hidden) {
  if (hidden.dtype() == DType::f32) return hidden;
  Tensor result = ctx.allocate(hidden.shape(), DType::f32);
  kernels::convert(ctx, hidden, result);
  return result;
}

}  // namespace

Tensor pool(Context& ctx, const Tensor& hidden, const Sequences& sequences, std::span<const Pooling> poolings) {
  const Tensor tokens = in_f32(ctx, hidden);
  const std::int64_t width = tokens.dim(1);
  Tensor result = ctx.allocate({sequences.count(), static_cast<std::int64_t>(poolings.size()) * width}, DType::f32);
  ctx.parallel_for(sequences.count(), [&](std::int64_t i) {
    const auto sequence = static_cast<std::int32_t>(i);
    require(sequences.length(sequence) > 0, "a text without tokens has no vector");
    const Rows rows{tokens.data<float>() + sequences.begin(sequence) * width,
                    static_cast<std::size_t>(sequences.length(sequence)), static_cast<std::size_t>(width)};
    float* to = result.write<float>() + i * result.dim(1);
    for (const Pooling pooling : poolings) {
      pool_sequence(pooling, rows, {to, rows.width});
      to += width;
    }
  });
  return result;
}

void normalize_rows(const Tensor& rows) {
  for (std::int64_t i = 0; i < rows.dim(0); ++i) {
    const std::span row(rows.write<float>() + i * rows.dim(1), static_cast<std::size_t>(rows.dim(1)));
    double squares = 0;
    for (const float x : row) squares += static_cast<double>(x) * x;
    const double length = std::max(std::sqrt(squares), 1e-12);
    for (float& x : row) x = static_cast<float>(x / length);
  }
}

}  // namespace rapt::embedding
