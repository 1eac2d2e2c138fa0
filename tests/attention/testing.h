/// What the tests of this room share: instruction sets, batches, operands in the type under test, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/random.h"
#include "kernels/dispatch.h"
#include "rapt/attention.h"
#include "rapt/error.h"

namespace rapt::attention {

/// The instruction sets of this processor; the one that RAPT_ISA names alone, since the run without it sees all.
inline std::vector<kernels::Isa> instruction_sets() {
  if (std::getenv("RAPT_ISA") != nullptr) return {kernels::isa()};
  std::vector<kernels::Isa> result;
  for (const kernels::Isa isa : {kernels::Isa::portable, kernels::Isa::avx2, kernels::Isa::avx512}) {
    if (isa <= kernels::isa()) result.push_back(isa);
  }
  return result;
}

// Batches.

/// (queries, keys) of sequences that lie end to end.
inline std::vector<Span> end_to_end(const std::vector<std::pair<int, int>>& lengths) {
  std::vector<Span> result;
  std::int32_t query = 0, key = 0;
  for (const auto& [queries, keys] : lengths) {
    result.push_back({query, queries, key, keys});
    query += queries;
    key += keys;
  }
  return result;
}
/// Rows up to the last that a sequence names.
inline std::int64_t end_of_queries(const std::vector<Span>& sequences) {
  std::int64_t end = 0;
  for (const Span& s : sequences) end = std::max<std::int64_t>(end, s.query_begin + s.query_count);
  return end;
}
inline std::int64_t end_of_keys(const std::vector<Span>& sequences) {
  std::int64_t end = 0;
  for (const Span& s : sequences) end = std::max<std::int64_t>(end, s.key_begin + s.key_count);
  return end;
}

/// Draws from the standard normal distribution: each is the sum of two from a pool, which takes a tenth of the time.
inline std::vector<double> normal_numbers(RandomSequence& random, std::int64_t count) {
  static const auto pool = [] {
    std::vector<double> drawn(std::size_t{1} << 16);
    RandomSequence source(1);
    for (double& value : drawn) value = source.normal() * std::sqrt(0.5);
    return drawn;
  }();
  std::vector<double> result(static_cast<std::size_t>(count));
  for (double& value : result) {
    const std::uint32_t places = random.next();
    value = pool[places >> 16] + pool[places & 0xffff];
  }
  return result;
}

// Operands in the type under test.

/// The type S that operands of type T are computed with.
template <typename T>
using Scalar = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// What outputs hold before anything runs, to see what is left alone.
constexpr double untouched = 77;

/// One operand, with rows further apart than they are long.
template <typename T>
struct Storage {
  static constexpr int gap = 3;
  int width = 0;
  std::vector<T> data = {};

  Storage(std::int64_t tokens, int row, double value)
      : width(row), data(static_cast<std::size_t>(tokens * (row + gap)), of(value)) {}
  Storage(const std::vector<double>& values, int row)
      : Storage(static_cast<std::int64_t>(values.size()) / row, row, std::numeric_limits<double>::quiet_NaN()) {
    const double* value = values.data();
    for (std::int64_t token = 0; token < tokens(); ++token) {
      for (int i = 0; i < width; ++i) data[static_cast<std::size_t>(token * (width + gap) + i)] = of(*value++);
    }
  }

  static T of(double value) {
    if constexpr (std::is_same_v<T, bf16>) {
      return bf16(static_cast<float>(value));
    } else {
      return static_cast<T>(value);
    }
  }
  static double number(T value) { return static_cast<Scalar<T>>(value); }
  std::int64_t tokens() const { return static_cast<std::int64_t>(data.size()) / (width + gap); }
  Rows rows() { return {dtype_of<T>, data.data(), width + gap}; }
  std::vector<double> values() const {
    std::vector<double> result(static_cast<std::size_t>(tokens() * width));
    double* value = result.data();
    for (std::int64_t token = 0; token < tokens(); ++token) {
      for (int i = 0; i < width; ++i) *value++ = number(data[static_cast<std::size_t>(token * (width + gap) + i)]);
    }
    return result;
  }
  /// The rows of some tokens, gaps and all.
  std::vector<T> part(std::int32_t begin, std::int32_t count) const {
    const std::int64_t stride = width + gap;
    return {data.begin() + begin * stride, data.begin() + (begin + count) * stride};
  }
  /// Whether elements [from, to) of a token's row hold what they did before anything ran.
  bool is_untouched(std::int32_t token, int from, int to) const {
    const std::vector<T> row = part(token, 1);
    return std::all_of(row.begin() + from, row.begin() + to, [](T value) { return number(value) == untouched; });
  }
};

// Comparing. NaN anywhere gives NaN, which is within no bound.

template <typename S>
std::vector<double> doubles(const std::vector<S>& x) {
  return {x.begin(), x.end()};
}

inline double largest(const std::vector<double>& x) {
  double result = 0;
  for (const double value : x) {
    if (!(std::abs(value) <= result)) result = std::abs(value);
    if (std::isnan(result)) break;
  }
  return result;
}

/// Largest difference.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  std::vector<double> differences(std::min(a.size(), b.size()));
  for (std::size_t i = 0; i < differences.size(); ++i) differences[i] = a[i] == b[i] ? 0.0 : a[i] - b[i];
  return largest(differences);
}

/// The largest difference relative to the largest value.
inline double relative_distance(const std::vector<double>& a, const std::vector<double>& expected) {
  const double difference = distance(a, expected);
  return difference == 0 ? 0 : difference / largest(expected);
}

inline double root_mean_square(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Central differences of loss(example) by each element of an input.
template <typename Example, typename Loss>
std::vector<double> central_differences(Example e, std::vector<double> Example::*input, Loss loss) {
  constexpr double step = 1e-5;
  std::vector<double> differences;
  for (double& value : e.*input) {
    const double x = value;
    value = x + step;
    const double above = loss(e);
    value = x - step;
    const double below = loss(e);
    value = x;
    differences.push_back((above - below) / (2 * step));
  }
  return differences;
}

/// The message of the Error that `call` throws; "no error" if it throws none.
template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace rapt::attention
