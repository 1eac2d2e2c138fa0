/// Statistics of a call, with places for them, and what they must be: shared by the tests of softmax and of the linear
/// forms.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention/kernels.h"
#include "attention/testing.h"

namespace rapt::attention {

constexpr int top = 5;
constexpr int bins = 7;
constexpr float unset = static_cast<float>(untouched);

/// All statistics of a call, with places for them.
struct Asked {
  std::vector<float> maximum, entropy, mean_distance, first, previous, same, top_weights, key_mass, pooled, row_weights;
  std::vector<std::int32_t> maximum_key, top_keys, rows;
  std::int64_t row_stride = 0;

  template <typename Example>
  explicit Asked(const Example& e) {
    const auto size = static_cast<std::size_t>(e.query_tokens() * e.heads);
    for (auto* x : {&maximum, &entropy, &mean_distance, &first, &previous, &same}) x->resize(size, unset);
    maximum_key.resize(size);
    top_keys.resize(size * top);
    top_weights.resize(size * top);
    key_mass.resize(static_cast<std::size_t>(e.key_tokens() * e.heads));
    pooled.resize(e.sequences.size() * static_cast<std::size_t>(e.heads) * bins * bins);
    for (const Span& s : e.sequences) {
      if (s.query_count > 0) rows.push_back(s.query_begin + s.query_count / 2);
      row_stride = std::max<std::int64_t>(row_stride, s.key_count + 3);
    }
    row_weights.resize(rows.size() * static_cast<std::size_t>(e.heads * row_stride), unset);
  }
  Statistics request() {
    return {.maximum = maximum.data(),
            .maximum_key = maximum_key.data(),
            .entropy = entropy.data(),
            .mean_distance = mean_distance.data(),
            .mass_on_first = first.data(),
            .mass_on_previous = previous.data(),
            .mass_on_same = same.data(),
            .top = top,
            .top_keys = top_keys.data(),
            .top_weights = top_weights.data(),
            .key_mass = key_mass.data(),
            .bins = bins,
            .pooled = pooled.data(),
            .rows = rows,
            .row_weights = row_weights.data(),
            .row_stride = row_stride};
  }
};

/// The forward pass of a trial with all statistics.
template <typename Trial>
Asked ask(Trial& run, int threads) {
  Asked asked(run.example);
  const Statistics request = asked.request();
  Outputs outputs = run.outputs();
  outputs.statistics = &request;
  attention::forward(run.kernels, run.problem(), run.inputs(), outputs, threads);
  return asked;
}

/// What rows of equal weights of `keys` keys say.
inline void expect_equal_weights(const Asked& asked, std::size_t rows, int keys) {
  for (std::size_t row = 0; row < rows; ++row) {
    EXPECT_EQ(asked.maximum_key[row], 0);
    EXPECT_NEAR(asked.entropy[row], std::log(keys), 1e-5);
    for (int i = 0; i < top; ++i) EXPECT_EQ(asked.top_keys[row * top + static_cast<std::size_t>(i)], i);
  }
}

/// Fills the memory that kernels on this thread take theirs from with NaN.
inline void poison_scratch() {
  constexpr std::int64_t bytes = 1 << 23;
  std::memset(thread_scratch(bytes), 0xff, bytes);
}

/// The weights of one query and head for all keys of its sequence, and their log-sum-exp.
struct PlainWeights {
  std::vector<double> weights;
  double log_sum_exp;
};

/// weights_of(span of `e`, query, head) -> PlainWeights.
template <typename Example, typename Weights>
void expect_near(const Asked& asked, const Example& e, double error, Weights weights_of) {
  std::vector<double> key_mass(asked.key_mass.size());
  std::vector<double> pooled(asked.pooled.size());
  std::size_t row_number = 0;
  for (const Span& s : e.sequences) {
    const auto sequence = static_cast<std::size_t>(&s - e.sequences.data());
    for (std::int32_t query = 0; query < s.query_count; ++query) {
      for (int head = 0; head < e.heads; ++head) {
        const auto [p, log_sum_exp] = weights_of(s, query, head);
        const auto at = static_cast<std::size_t>((s.query_begin + query) * e.heads + head);
        const std::int32_t position = query + s.key_count - s.query_count;
        double entropy = 0, distance = 0;
        for (std::int32_t j = 0; j < s.key_count; ++j) {
          const double w = p[static_cast<std::size_t>(j)];
          if (w > 0) entropy -= w * std::log(w);
          distance += w * std::abs(j - position);
          key_mass[static_cast<std::size_t>((s.key_begin + j) * e.heads + head)] += w;
          pooled[((sequence * static_cast<std::size_t>(e.heads) + static_cast<std::size_t>(head)) * bins +
                  static_cast<std::size_t>(std::int64_t{query} * bins / s.query_count)) *
                     bins +
                 static_cast<std::size_t>(std::int64_t{j} * bins / s.key_count)] += w;
        }
        const auto weight = [&, &p = p](std::int32_t j) {
          return j >= 0 && j < s.key_count ? p[static_cast<std::size_t>(j)] : 0.0;
        };
        ASSERT_NEAR(asked.entropy[at], entropy, error * 10);
        ASSERT_NEAR(asked.mean_distance[at], distance, error * std::max<double>(s.key_count, s.query_count));
        ASSERT_NEAR(asked.first[at], weight(0), error);
        ASSERT_NEAR(asked.previous[at], weight(position - 1), error);
        ASSERT_NEAR(asked.same[at], weight(position), error);
        std::vector<std::int32_t> order(p.size());
        std::iota(order.begin(), order.end(), 0);
        const auto heaviest = order.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(top, order.size()));
        std::partial_sort(order.begin(), heaviest, order.end(),
                          [&](auto a, auto b) { return weight(a) != weight(b) ? weight(a) > weight(b) : a < b; });
        const bool empty = order.empty() || weight(order[0]) == 0;
        if (empty) {
          ASSERT_EQ(asked.maximum_key[at], -1);
          ASSERT_EQ(asked.maximum[at], -std::numeric_limits<float>::infinity());
        } else {
          ASSERT_NEAR(weight(asked.maximum_key[at]), weight(order[0]), error);
          const double maximum = std::log(weight(order[0])) + log_sum_exp;
          ASSERT_NEAR(asked.maximum[at], maximum, 10 * error * std::max(1.0, std::abs(maximum)));
        }
        for (std::size_t i = 0; i < top; ++i) {
          const std::int32_t key = asked.top_keys[at * top + i];
          const double expected = i < order.size() ? weight(order[i]) : 0;
          ASSERT_NEAR(asked.top_weights[at * top + i], expected, error);
          if (key < 0) {
            ASSERT_EQ(expected, 0);
            continue;
          }
          ASSERT_NEAR(weight(key), asked.top_weights[at * top + i], error);
        }
      }
    }
    if (s.query_count == 0) continue;
    for (int head = 0; head < e.heads; ++head) {
      const std::vector<double> p = weights_of(s, s.query_count / 2, head).weights;
      const float* row =
          asked.row_weights.data() + (row_number * static_cast<std::size_t>(e.heads) + static_cast<std::size_t>(head)) *
                                         static_cast<std::size_t>(asked.row_stride);
      for (std::size_t j = 0; j < p.size(); ++j) ASSERT_NEAR(row[j], p[j], error);
      ASSERT_EQ(row[p.size()], unset) << "what lies beyond the keys is left alone";
    }
    ++row_number;
  }
  for (std::size_t i = 0; i < key_mass.size(); ++i) {
    ASSERT_NEAR(asked.key_mass[i], key_mass[i], std::max(error, 2e-6) * std::max(1.0, key_mass[i]));
  }
  for (std::size_t i = 0; i < pooled.size(); ++i) {
    ASSERT_NEAR(asked.pooled[i], pooled[i], std::max(error, 2e-6) * std::max(1.0, pooled[i]));
  }
}

}  // namespace rapt::attention
