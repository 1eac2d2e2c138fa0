/// What the operator says about its weights, against the plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "attention/reference.h"

namespace rapt::attention {
namespace {

constexpr int top = 5;
constexpr int bins = 7;
constexpr float unset = static_cast<float>(untouched);

/// All statistics of a call, with places for them.
struct Asked {
  std::vector<float> maximum, entropy, mean_distance, first, previous, same, top_weights, key_mass, pooled, row_weights;
  std::vector<std::int32_t> maximum_key, top_keys, rows;
  std::int64_t row_stride = 0;

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
template <typename T>
Asked ask(Trial<T>& run, int threads) {
  Asked asked(run.example);
  const Statistics request = asked.request();
  Outputs outputs = run.outputs();
  outputs.statistics = &request;
  forward(run.kernels, run.problem(), run.inputs(), outputs, threads);
  return asked;
}

Example example_of(std::vector<std::pair<int, int>> lengths, int heads, int kv_heads, Visibility visibility) {
  Example e{.sequences = end_to_end(lengths),
            .heads = heads,
            .kv_heads = kv_heads,
            .d_key = 20,
            .d_value = 12,
            .scale = 0.4,
            .visibility = std::move(visibility)};
  e.fill(static_cast<std::uint64_t>(heads * 10 + kv_heads));
  return e;
}

/// Compares with weights of the plain loops. `rounding`: of the operands' type.
template <typename T>
void expect_statistics(const Example& example, double error) {
  const Example e = Trial<T>(example).rounded();
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<T> plain(e, isa);
    plain.forward();
    Trial<T> run(e, isa);
    const Asked asked = ask(run, 2);
    EXPECT_EQ(run.out.values().size(), plain.out.values().size());
    for (std::size_t i = 0; i < run.out.data.size(); ++i) {
      // Rows of few queries take another way without statistics.
      ASSERT_NEAR(Storage<T>::number(run.out.data[i]), Storage<T>::number(plain.out.data[i]),
                  sizeof(T) == 2 ? 0.05 : 1e-5);
    }
    std::vector<double> key_mass(asked.key_mass.size());
    std::vector<double> pooled(asked.pooled.size());
    std::size_t row_number = 0;
    for (const Span& s : e.sequences) {
      const auto sequence = static_cast<std::size_t>(&s - e.sequences.data());
      for (std::int32_t query = 0; query < s.query_count; ++query) {
        for (int head = 0; head < e.heads; ++head) {
          double unused;
          const std::vector<double> p = reference_weights(e, s, query, head, &unused);
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
          const auto weight = [&](std::int32_t j) {
            return j >= 0 && j < s.key_count ? p[static_cast<std::size_t>(j)] : 0.0;
          };
          ASSERT_NEAR(asked.entropy[at], entropy, error * 10);
          ASSERT_NEAR(asked.mean_distance[at], distance, error * std::max<double>(s.key_count, s.query_count));
          ASSERT_NEAR(asked.first[at], weight(0), error);
          ASSERT_NEAR(asked.previous[at], weight(position - 1), error);
          ASSERT_NEAR(asked.same[at], weight(position), error);
          std::vector<std::int32_t> order(p.size());
          std::iota(order.begin(), order.end(), 0);
          std::ranges::stable_sort(order, [&](auto a, auto b) { return weight(a) > weight(b); });
          const bool empty = order.empty() || weight(order[0]) == 0;
          if (empty) {
            ASSERT_EQ(asked.maximum_key[at], -1);
            ASSERT_EQ(asked.maximum[at], -std::numeric_limits<float>::infinity());
          } else {
            ASSERT_NEAR(weight(asked.maximum_key[at]), weight(order[0]), error);
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
        double unused;
        const std::vector<double> p = reference_weights(e, s, s.query_count / 2, head, &unused);
        const float* row = asked.row_weights.data() +
                           (row_number * static_cast<std::size_t>(e.heads) + static_cast<std::size_t>(head)) *
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
}

std::vector<Example> examples() {
  std::vector<Example> result;
  result.push_back(example_of({{5, 9}, {0, 3}, {3, 0}, {1, 1}}, 2, 1, Visibility::full()));
  result.push_back(example_of({{70, 70}, {33, 300}}, 3, 1, Visibility::causal()));
  result.push_back(example_of({{300, 700}, {40, 40}}, 4, 2, Visibility::window(60, 10)));
  result.push_back(example_of({{90, 40}}, 2, 2, Visibility::causal(Align::start) & Visibility::strided(3)));
  result.push_back(example_of({{40, 500}}, 2, 2, Visibility::full()));
  result.back().sinks = {0.5, 2};
  result.back().alibi_slopes = {0.01, 0.1};
  result.back().soft_cap = 3;
  // Weights that move: the maximum grows from tile to tile.
  result.push_back(example_of({{20, 900}}, 1, 1, Visibility::full()));
  for (std::size_t i = 0; i < result.back().k.size(); ++i) result.back().k[i] *= 1 + static_cast<double>(i) / 4000;
  return result;
}

TEST(AttentionStatistics, AreThoseOfThePlainLoops) {
  int number = 0;
  for (const Example& e : examples()) {
    SCOPED_TRACE("example " + std::to_string(number++));
    expect_statistics<double>(e, 2e-7);
    expect_statistics<float>(e, 1e-5);
    expect_statistics<bf16>(e, 1e-5);
  }
}

TEST(AttentionStatistics, EqualScoresHaveTheFirstKeyAndTheLargestEntropy) {
  Example e = example_of({{3, 200}}, 1, 1, Visibility::full());
  std::fill(e.q.begin(), e.q.end(), 0.0);
  Trial<float> run(e);
  const Asked asked = ask(run, 2);
  for (std::size_t row = 0; row < 3; ++row) {
    EXPECT_EQ(asked.maximum_key[row], 0);
    EXPECT_NEAR(asked.entropy[row], std::log(200), 1e-5);
    for (int i = 0; i < top; ++i) EXPECT_EQ(asked.top_keys[row * top + static_cast<std::size_t>(i)], i);
  }
}

TEST(AttentionStatistics, ThreadsDoNotChangeABit) {
  const Example e = example_of({{300, 900}, {40, 40}}, 4, 2, Visibility::causal());
  std::vector<Asked> results;
  for (const int threads : {1, 2, 5}) {
    Trial<float> run(e);
    results.push_back(ask(run, threads));
  }
  for (const Asked& other : results) {
    EXPECT_EQ(other.entropy, results[0].entropy);
    EXPECT_EQ(other.mean_distance, results[0].mean_distance);
    EXPECT_EQ(other.key_mass, results[0].key_mass);
    EXPECT_EQ(other.pooled, results[0].pooled);
    EXPECT_EQ(other.top_weights, results[0].top_weights);
  }
}

/// Fills the memory that kernels on this thread take theirs from with NaN.
void poison_scratch() {
  constexpr std::int64_t bytes = 1 << 23;
  std::memset(thread_scratch(bytes), 0xff, bytes);
}

TEST(AttentionStatistics, WhatMemoryHeldBeforeDoesNotMatter) {
  std::vector<Example> all = examples();
  all.push_back(example_of({{1, 40}, {9, 200}}, 2, 1, Visibility::causal()));
  all.back().alibi_slopes = {0.01, 0.1};
  for (const Example& e : all) {
    for (const kernels::Isa isa : instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      Trial<float> run(e, isa, 1);
      poison_scratch();
      const Asked asked = ask(run, 1);
      EXPECT_FALSE(std::isnan(largest(doubles(asked.key_mass))));
      EXPECT_FALSE(std::isnan(largest(doubles(asked.pooled))));
      EXPECT_FALSE(std::isnan(largest(doubles(asked.entropy))));
      EXPECT_FALSE(std::isnan(largest(doubles(asked.row_weights))));
      EXPECT_FALSE(std::isnan(largest(run.out.values())));
      poison_scratch();
      run.backward();
      EXPECT_FALSE(std::isnan(largest(run.dq.values())));
      EXPECT_FALSE(std::isnan(largest(run.dk.values())));
      EXPECT_FALSE(std::isnan(largest(run.dv.values())));
    }
  }
}

TEST(AttentionStatistics, TheBackwardPassSaysWhatKeysReceived) {
  for (const Example& e : examples()) {
    Trial<float> run(e);
    Asked asked(e);
    const Statistics request{.key_mass = asked.key_mass.data()};
    Outputs outputs = run.outputs();
    outputs.statistics = &request;
    forward(run.problem(), run.inputs(), outputs);
    std::vector<float> found(asked.key_mass.size(), unset);
    backward(run.problem(), run.inputs(), run.outputs(), run.d_out.rows(),
             {.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows(), .key_mass = found.data()});
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], asked.key_mass[i], 1e-5 * std::max(1.0f, asked.key_mass[i]));
    }
  }
}

TEST(AttentionStatistics, RefuseWhatHasNoPlace) {
  const Example e = example_of({{5, 9}}, 2, 1, Visibility::full());
  Trial<float> run(e);
  const auto refused = [&](const Statistics& ask, bool with_log_sum_exp = true) {
    Outputs outputs = run.outputs();
    outputs.statistics = &ask;
    if (!with_log_sum_exp) outputs.log_sum_exp = nullptr;
    return error_of([&] { forward(run.problem(), run.inputs(), outputs); }) != "no error";
  };
  std::vector<float> place(100);
  EXPECT_TRUE(refused({.top = 3}));
  EXPECT_TRUE(refused({.bins = 3}));
  EXPECT_TRUE(refused({.key_mass = place.data()}, false));
  const std::vector<std::int32_t> rows{5};
  EXPECT_TRUE(refused({.rows = rows, .row_weights = place.data(), .row_stride = 9}));
  const std::vector<std::int32_t> present{4};
  EXPECT_TRUE(refused({.rows = present, .row_weights = place.data(), .row_stride = 8}));
  EXPECT_FALSE(refused({.rows = present, .row_weights = place.data(), .row_stride = 9}));
}

}  // namespace
}  // namespace rapt::attention
