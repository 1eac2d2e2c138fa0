/// What the normalised linear forms say about the weights that they imply, against the definition.
#include <gtest/gtest.h>

#include <map>

#include "attention/asked.h"
#include "attention/linear_reference.h"

namespace rapt::attention::linear {
namespace {

Example example_of(const std::vector<std::pair<int, int>>& lengths, int heads, int kv_heads, Kind kind, bool causal) {
  Example e{.sequences = end_to_end(lengths),
            .heads = heads,
            .kv_heads = kv_heads,
            .d_key = 20,
            .d_value = 12,
            .scale = 0.2,
            .kind = kind,
            .causal = causal};
  if (kind == Kind::favor) e.features = RandomFeatures(37, e.d_key, 5);
  return e.fill(static_cast<std::uint64_t>(heads * 10 + kv_heads));
}

template <typename Check>
void for_each_normalised(const std::vector<std::pair<int, int>>& lengths, int heads, int kv_heads, Check check) {
  for (const Kind kind : {Kind::elu_plus_one, Kind::relu, Kind::favor}) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(std::string(name_of(kind)) + (causal ? ", causal" : ", full"));
      check(example_of(lengths, heads, kv_heads, kind, causal));
    }
  }
}

/// The weights of the definition, computed once.
class Weights {
 public:
  explicit Weights(const Example& e) : example_(e), log_sum_exp_(reference_log_sum_exp(e)) {
    for (const Span& s : e.sequences) {
      for (int head = 0; head < e.heads; ++head) all_[{&s, head}] = reference_weights(e, s, head);
    }
  }
  PlainWeights operator()(const Span& s, std::int32_t query, int head) const {
    const auto row = all_.at({&s, head}).begin() + std::int64_t{query} * s.key_count;
    return {{row, row + s.key_count},
            log_sum_exp_[static_cast<std::size_t>((s.query_begin + query) * example_.heads + head)]};
  }

 private:
  const Example& example_;
  std::vector<double> log_sum_exp_;
  std::map<std::pair<const Span*, int>, std::vector<double>> all_;
};

template <typename T>
void expect_statistics(const Example& e, const Weights& weights, double error) {
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<T> plain(e, isa), run(e, isa);
    plain.forward();
    const Asked asked = ask(run, 2);
    EXPECT_TRUE(same_bits(run.out.data, plain.out.data));
    EXPECT_TRUE(same_bits(run.log_sum_exp, plain.log_sum_exp));
    expect_near(asked, e, error, weights);
  }
}

TEST(LinearStatistics, AreThoseOfTheDefinition) {
  const auto check = [](const Example& example) {
    const Example e = Trial<bf16>(example).rounded();
    const Weights weights(e);
    expect_statistics<double>(e, weights, 2e-7);
    expect_statistics<float>(e, weights, 1e-5);
    expect_statistics<bf16>(e, weights, 1e-5);
  };
  for_each_normalised({{5, 9}, {0, 3}, {3, 0}, {1, 1}, {9, 4}}, 2, 1, check);
  for_each_normalised({{70, 70}, {33, 300}}, 3, 1, check);
  for_each_normalised({{130, 200}, {64, 64}, {65, 63}}, 4, 2, check);
}

TEST(LinearStatistics, EqualWeightsHaveTheFirstKeyAndTheLargestEntropy) {
  for (const Kind kind : {Kind::elu_plus_one, Kind::relu, Kind::favor}) {
    Example e = example_of({{3, 200}}, 1, 1, kind, false);
    std::fill(e.k.begin(), e.k.end(), 0.5);
    std::fill(e.q.begin(), e.q.end(), 0.25);
    Trial<float> run(e);
    const Asked asked = ask(run, 2);
    expect_equal_weights(asked, 3, 200);
  }
}

TEST(LinearStatistics, AreSaidOfRowsWithoutAPlaceForLogSumExp) {
  for_each_normalised({{70, 90}}, 2, 1, [](const Example& e) {
    Trial<float> run(e);
    const Asked expected = ask(run, 1);
    std::vector<float> entropy(expected.entropy.size());
    const Statistics request{.entropy = entropy.data()};
    for (const Path path : {Path::chunked, Path::recurrent}) {
      run.form.path = path;
      attention::forward(run.problem(), run.inputs(), {.out = run.out.rows(), .statistics = &request});
      for (std::size_t i = 0; i < entropy.size(); ++i) ASSERT_NEAR(entropy[i], expected.entropy[i], 1e-5);
    }
  });
}

void expect_same_bits(const Asked& a, const Asked& b) {
  EXPECT_EQ(a.maximum, b.maximum);
  EXPECT_EQ(a.entropy, b.entropy);
  EXPECT_EQ(a.mean_distance, b.mean_distance);
  EXPECT_EQ(a.top_keys, b.top_keys);
  EXPECT_EQ(a.top_weights, b.top_weights);
  EXPECT_EQ(a.key_mass, b.key_mass);
  EXPECT_EQ(a.pooled, b.pooled);
  EXPECT_EQ(a.row_weights, b.row_weights);
}

TEST(LinearStatistics, ThreadsDoNotChangeABit) {
  for_each_normalised({{300, 900}, {40, 40}}, 4, 2, [](const Example& e) {
    std::vector<Asked> results;
    for (const int threads : {1, 2, 5}) {
      Trial<float> run(e);
      results.push_back(ask(run, threads));
      expect_same_bits(results.back(), results[0]);
    }
  });
}

TEST(LinearStatistics, ASequenceAloneGivesTheBitsItGivesInABatch) {
  for_each_normalised({{150, 300}, {33, 40}}, 4, 2, [](const Example& e) {
    Trial<float> batch(e), alone(e);
    const Asked expected = ask(batch, 3);
    Example first = e;
    first.sequences.resize(1);
    Asked asked(first);
    const Statistics request = asked.request();
    Problem problem = alone.problem();
    problem.sequences = first.sequences;
    Outputs outputs = alone.outputs();
    outputs.statistics = &request;
    attention::forward(alone.kernels, problem, alone.inputs(), outputs, 3);
    const auto begins_with = [](const auto& whole, const auto& part, std::size_t count) {
      return std::equal(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(count), whole.begin());
    };
    EXPECT_TRUE(begins_with(expected.maximum, asked.maximum, 150 * 4));
    EXPECT_TRUE(begins_with(expected.entropy, asked.entropy, 150 * 4));
    EXPECT_TRUE(begins_with(expected.mean_distance, asked.mean_distance, 150 * 4));
    EXPECT_TRUE(begins_with(expected.top_weights, asked.top_weights, 150 * 4 * top));
    EXPECT_TRUE(begins_with(expected.key_mass, asked.key_mass, 300 * 4));
    EXPECT_TRUE(begins_with(expected.pooled, asked.pooled, 4 * bins * bins));
  });
}

TEST(LinearStatistics, WhatMemoryHeldBeforeDoesNotMatter) {
  for_each_normalised({{70, 130}, {1, 40}, {9, 3}}, 2, 1, [](const Example& e) {
    for (const kernels::Isa isa : instruction_sets()) {
      Trial<float> expected(e, isa, 1), run(e, isa, 1);
      const Asked clean = ask(expected, 1);
      poison_scratch();
      expect_same_bits(ask(run, 1), clean);
    }
  });
}

TEST(LinearStatistics, OfLongKeysOfFavorStayFinite) {
  for (const bool causal : {false, true}) {
    Example e = example_of({{130, 130}}, 1, 1, Kind::favor, causal);
    for (double& x : e.k) x *= 10;
    for (double& x : e.q) x *= 10;
    Trial<float> run(e);
    const Asked asked = ask(run, 2);
    for (const std::vector<float>* x :
         {&asked.entropy, &asked.mean_distance, &asked.top_weights, &asked.key_mass, &asked.pooled}) {
      EXPECT_TRUE(std::ranges::all_of(*x, [](float value) { return std::isfinite(value); }));
    }
  }
}

// What is not there.

TEST(LinearStatistics, ARowWithoutADenominatorSaysNothing) {
  Example e = example_of({{70, 70}}, 1, 1, Kind::relu, true);
  for (double& x : e.q) x = -std::abs(x);
  Trial<float> run(e);
  const Asked asked = ask(run, 1);
  for (std::size_t row = 0; row < 70; ++row) {
    EXPECT_EQ(asked.maximum[row], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(asked.maximum_key[row], -1);
    EXPECT_EQ(asked.top_keys[row * top], -1);
    EXPECT_EQ(asked.entropy[row], 0);
  }
  EXPECT_EQ(largest(doubles(asked.key_mass)), 0);
  EXPECT_EQ(largest(doubles(asked.pooled)), 0);
}

std::string refusal(Trial<float>& run, const Statistics& ask, const void* states = nullptr) {
  Outputs outputs = run.outputs();
  outputs.statistics = &ask;
  return error_of([&] { attention::forward(run.kernels, run.problem(), run.inputs(states), outputs, 1); });
}

TEST(LinearStatistics, RetentionGivesRowsAndTheDeltaRuleNothing) {
  std::vector<float> place(200);
  const std::vector<std::int32_t> rows{65};
  const Statistics asks[] = {{.entropy = place.data()},
                             {.maximum = place.data()},
                             {.key_mass = place.data()},
                             {.bins = 2, .pooled = place.data()}};
  const Statistics ask_row{.rows = rows, .row_weights = place.data(), .row_stride = 100};

  const Example retention = example_of({{70, 70}}, 2, 1, Kind::retention, true);
  Trial<float> run(retention);
  for (const Statistics& ask : asks) {
    EXPECT_NE(refusal(run, ask).find("the weights of retention are of either sign"), std::string::npos);
  }
  EXPECT_EQ(refusal(run, ask_row), "no error");
  for (const int head : {0, 1}) {
    const std::vector<float> weights = run.weights(0, head);
    EXPECT_TRUE(std::equal(weights.begin() + 65 * 70, weights.begin() + 66 * 70, place.begin() + head * 100));
  }

  const Example delta = example_of({{70, 70}}, 2, 1, Kind::gated_delta, true);
  Trial<float> other(delta);
  for (const Statistics& ask : asks) EXPECT_NE(refusal(other, ask).find("later keys rewrite"), std::string::npos);
  EXPECT_NE(refusal(other, ask_row).find("later keys rewrite"), std::string::npos);
}

TEST(LinearStatistics, ThereAreNoneOfKeysInAState) {
  const Example e = example_of({{3, 3}}, 2, 1, Kind::relu, true);
  Trial<float> run(e);
  std::vector<float> place(20), states(static_cast<std::size_t>(state_size(run.problem())));
  EXPECT_NE(refusal(run, {.entropy = place.data()}, states.data()).find("lie in a state"), std::string::npos);
  EXPECT_EQ(refusal(run, {}, states.data()), "no error");
}

}  // namespace
}  // namespace rapt::attention::linear
