/// What the operator says about its weights, against the plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "attention/asked.h"
#include "attention/reference.h"

namespace rapt::attention {
namespace {

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
    expect_near(asked, e, error, [&](const Span& s, std::int32_t query, int head) {
      PlainWeights plain_weights;
      plain_weights.weights = reference_weights(e, s, query, head, &plain_weights.log_sum_exp);
      return plain_weights;
    });
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
  expect_equal_weights(asked, 3, 200);
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

/// What the backward pass says of keys and tiles.
template <typename T>
Asked ask_backward(Trial<T>& run, int threads) {
  Asked asked(run.example);
  backward(run.kernels, run.problem(), run.inputs(), run.outputs(), run.d_out.rows(),
           {.q = run.dq.rows(),
            .k = run.dk.rows(),
            .v = run.dv.rows(),
            .key_mass = asked.key_mass.data(),
            .bins = bins,
            .pooled = asked.pooled.data()},
           threads);
  return asked;
}

template <typename T>
void expect_backward_says_the_same(const Example& e, kernels::Isa isa) {
  SCOPED_TRACE(name_of(isa));
  Trial<T> run(e, isa);
  Asked expected(e);
  const Statistics request{.key_mass = expected.key_mass.data(), .bins = bins, .pooled = expected.pooled.data()};
  Outputs outputs = run.outputs();
  outputs.statistics = &request;
  forward(run.kernels, run.problem(), run.inputs(), outputs, 2);
  const Asked found = ask_backward(run, 2);
  for (std::size_t i = 0; i < found.key_mass.size(); ++i) {
    ASSERT_NEAR(found.key_mass[i], expected.key_mass[i], 1e-5 * std::max(1.0f, expected.key_mass[i]));
  }
  for (std::size_t i = 0; i < found.pooled.size(); ++i) {
    ASSERT_NEAR(found.pooled[i], expected.pooled[i], 1e-5 * std::max(1.0f, expected.pooled[i]));
  }
}

TEST(AttentionStatistics, TheBackwardPassSaysWhatKeysReceived) {
  std::vector<Example> all = examples();
  // Groups of rows in which no lane keeps its head, and heads that share a bias and so take turns.
  all.push_back(example_of({{50, 600}, {40, 40}}, 6, 2, Visibility::causal()));
  all.back().bias.resize(700, 0.25);
  all.back().bias_strides = {.by_key = 1};
  all.push_back(example_of({{90, 300}}, 4, 2, Visibility::causal()));
  all.back().dropout = {.probability = 0.3f, .key = {1, 2}};
  for (const Example& e : all) {
    for (const kernels::Isa isa : instruction_sets()) expect_backward_says_the_same<float>(e, isa);
    expect_backward_says_the_same<double>(e, kernels::isa());
    expect_backward_says_the_same<bf16>(e, kernels::isa());
  }
}

TEST(AttentionStatistics, AskingTheBackwardPassChangesNoGradient) {
  const Example e = example_of({{300, 900}, {40, 40}, {0, 7}, {7, 0}}, 4, 2, Visibility::causal());
  Trial<float> expected(e);
  expected.forward().backward();
  std::vector<Asked> results;
  for (const int threads : {1, 2, 5}) {
    Trial<float> run(e);
    run.forward();
    results.push_back(ask_backward(run, threads));
    EXPECT_TRUE(same_bits(run.dq.data, expected.dq.data));
    EXPECT_TRUE(same_bits(run.dk.data, expected.dk.data));
    EXPECT_TRUE(same_bits(run.dv.data, expected.dv.data));
    EXPECT_EQ(results.back().key_mass, results[0].key_mass);
    EXPECT_EQ(results.back().pooled, results[0].pooled);
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
  const std::string message = error_of([&] {
    backward(run.problem(), run.inputs(), run.outputs(), run.d_out.rows(),
             {.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows(), .bins = 3});
  });
  EXPECT_EQ(message, "attention: a pooled map of 3 bins is asked for without a place for it");
}

}  // namespace
}  // namespace rapt::attention
