/// What the tests of kernels share: operands, a plain dropout, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/random.h"
#include "core/tensor.h"

namespace rapt::testing {

using Values = std::vector<double>;

/// Widths around whole vectors and groups of dropout, and one tensor of several blocks.
inline const std::vector<Shape> shapes = {{0, 5}, {1, 1}, {9, 1}, {3, 17}, {5, 128}, {7, 130}, {4, 513}, {300, 513}};
inline const std::vector<DType> floating = {DType::f32, DType::bf16, DType::f64};

inline Tensor tensor_of(const Shape& shape, DType dtype, const Values& values) {
  return Tensor::of<double>(shape, values).to(dtype);
}

/// Normal values times `deviation`, rounded to `dtype`.
inline Tensor random_tensor(const Shape& shape, DType dtype, std::uint64_t seed, double deviation = 1) {
  RandomSequence random(seed);
  Values values(static_cast<std::size_t>(shape.count()));
  for (double& v : values) v = deviation * random.normal();
  return tensor_of(shape, dtype, values);
}

inline Tensor constant_tensor(const Shape& shape, DType dtype, double value) {
  return tensor_of(shape, dtype, Values(static_cast<std::size_t>(shape.count()), value));
}

inline Values values_of(const Tensor& tensor) {
  const Tensor converted = tensor.to(DType::f64);
  const auto values = converted.values<double>();
  return {values.begin(), values.end()};
}

/// Largest relative error of rounding to `dtype`.
inline double roundoff(DType dtype) {
  return dtype == DType::bf16 ? 0x1p-8 : dtype == DType::f32 ? 0x1p-24 : 0x1p-53;
}

/// The type in which a kernel accumulates and keeps its statistics.
inline DType accumulator(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

/// The definition of the mask (kernels/dropout_mask.h), element by element: 0, or the reciprocal of the kept fraction.
inline double dropout_factor(const Dropout& dropout, std::int64_t i) {
  if (!dropout.active()) return 1;
  const auto j = static_cast<std::uint64_t>(i % 128);
  const std::uint64_t counter = static_cast<std::uint64_t>(i / 128) * 16 + j % 16;
  const auto words =
      philox(dropout.key, {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0});
  const std::uint64_t half = j / 16;
  const std::uint32_t number = half % 2 == 1 ? words[half / 2] >> 16 : words[half / 2] & 0xffff;
  return number >= dropout.threshold() ? 1 / dropout.kept() : 0;
}

/// |actual - expected| <= absolute + relative * |expected|, element by element; NaN only where NaN is expected.
inline void expect_close(const Tensor& actual, const Values& expected, double relative, double absolute,
                         const std::string& what = "") {
  const Values values = values_of(actual);
  ASSERT_EQ(values.size(), expected.size());
  int shown = 0;
  for (std::size_t i = 0; i < values.size() && shown < 5; ++i) {
    if (std::isnan(expected[i]) ? std::isnan(values[i]) : values[i] == expected[i]) continue;
    if (std::abs(values[i] - expected[i]) <= absolute + relative * std::abs(expected[i])) continue;
    ADD_FAILURE() << what << " element " << i << " of " << actual.shape().text() << " " << name_of(actual.dtype())
                  << " is " << values[i] << ", expected " << expected[i];
    ++shown;
  }
}

inline void expect_same_bits(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.bytes(), b.bytes());
  EXPECT_TRUE(a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0) << "bits differ";
}

/// Runs `compute`, which gives its results, with 1, 2 and 3 threads and expects the same bits.
inline void expect_same_for_all_threads(const std::function<std::vector<Tensor>(const Context&)>& compute) {
  const auto alone = compute(Context({.threads = 1}));
  for (const int threads : {2, 3}) {
    const auto together = compute(Context({.threads = threads}));
    ASSERT_EQ(alone.size(), together.size());
    for (std::size_t i = 0; i < alone.size(); ++i) expect_same_bits(alone[i], together[i]);
  }
}

/// Compares the gradient of loss() with central differences: the elements of `x` (f64) are moved in place.
inline void expect_gradient(const Tensor& x, const Tensor& gradient, const std::function<double()>& loss) {
  constexpr double step = 1e-5;
  constexpr double tolerance = 1e-6;
  auto* values = x.write<double>();
  const Values actual = values_of(gradient);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double at = values[i];
    values[i] = at + step;
    const double above = loss();
    values[i] = at - step;
    const double below = loss();
    values[i] = at;
    const double expected = (above - below) / (2 * step);
    EXPECT_NEAR(actual[i], expected, tolerance * std::max(1.0, std::abs(expected))) << "element " << i;
  }
}

/// sum of a * b, both f64: a loss whose gradient is the other one.
inline double dot(const Tensor& a, const Tensor& b) {
  double result = 0;
  for (std::int64_t i = 0; i < a.count(); ++i) result += a.data<double>()[i] * b.data<double>()[i];
  return result;
}

/// Runs `call` and expects an Error whose message contains `part`.
inline void expect_error(const std::string& part, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error, expected one about: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace rapt::testing
