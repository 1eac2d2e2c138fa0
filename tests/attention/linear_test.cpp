#include "rapt/linear_form.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "attention/linear_reference.h"

namespace rapt::attention::linear {
namespace {

struct Variant {
  std::string name;
  Kind kind;
  bool causal;
};
const std::vector<Variant>& variants() {
  static const std::vector<Variant> result{{"elu + 1, causal", Kind::elu_plus_one, true},
                                           {"elu + 1, full", Kind::elu_plus_one, false},
                                           {"relu, causal", Kind::relu, true},
                                           {"relu, full", Kind::relu, false},
                                           {"favor, causal", Kind::favor, true},
                                           {"favor, full", Kind::favor, false},
                                           {"retention", Kind::retention, true},
                                           {"gated delta", Kind::gated_delta, true}};
  return result;
}

struct Shape {
  std::string name;
  std::vector<std::pair<int, int>> lengths;
  int heads, kv_heads, d_key, d_value;
  int features = 40;
};

/// Lengths around the edges of chunks, and widths that fit no vector.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> result{
      {"nothing", {}, 1, 1, 4, 4},
      {"empty sequences", {{0, 0}, {3, 0}, {0, 3}, {2, 2}, {0, 70}, {70, 0}, {0, 0}}, 2, 1, 8, 8},
      {"one by one", {{1, 1}}, 1, 1, 1, 1, 1},
      {"edges of vectors", {{1, 3}, {2, 4}, {7, 5}, {8, 8}, {9, 7}, {15, 17}, {17, 15}}, 2, 2, 16, 16, 16},
      {"edges of chunks", {{63, 63}, {64, 64}, {65, 65}, {129, 127}, {203, 203}}, 2, 2, 64, 64, 64},
      {"odd widths", {{31, 31}, {65, 130}, {203, 203}}, 2, 2, 17, 33},
      {"queries at the end", {{1, 203}, {64, 203}, {65, 128}, {3, 64}}, 2, 2, 24, 8},
      {"more queries than keys", {{203, 65}, {70, 3}, {65, 64}}, 2, 1, 12, 20},
      {"grouped heads", {{19, 23}, {90, 90}, {1, 70}}, 6, 2, 32, 48},
      {"one key-value head", {{130, 130}}, 5, 1, 13, 80, 33},
      {"narrowest keys", {{70, 70}}, 2, 2, 1, 129, 3},
      {"narrowest values", {{70, 70}}, 3, 3, 127, 1, 200},
      {"wide heads", {{70, 70}}, 1, 1, 260, 300},
  };
  return result;
}

Example example_of(const Shape& shape, const Variant& variant) {
  Example e{.sequences = end_to_end(shape.lengths),
            .heads = shape.heads,
            .kv_heads = shape.kv_heads,
            .d_key = shape.d_key,
            .d_value = shape.d_value,
            .scale = 1 / std::sqrt(static_cast<double>(shape.d_key)),
            .kind = variant.kind,
            .causal = variant.causal};
  if (variant.kind == Kind::favor) e.features = RandomFeatures(shape.features, shape.d_key, 5);
  return e.fill(static_cast<std::uint64_t>(shape.d_key * 100 + shape.heads));
}

template <typename Check>
void for_each_variant(const Shape& shape, Check check) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(shape.name + ", " + variant.name);
    check(example_of(shape, variant));
  }
}
template <typename Check>
void for_each_example(Check check) {
  for (const Shape& shape : shapes()) for_each_variant(shape, check);
}

// The three ways of computing are equal.

/// Relative where it is above 1. Empty `expected`: there is none.
template <typename S>
void expect_log_sum_exp(const std::vector<S>& found, const std::vector<double>& expected, double error) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto x = static_cast<double>(found[i]);
    if (x == expected[i]) continue;  // as infinities are
    ASSERT_LE(std::abs(x - expected[i]), error * std::max(1.0, std::abs(expected[i])));
  }
}

/// The results of the definition.
struct Expected {
  std::vector<double> out, log_sum_exp;
};

/// By chunks and token by token, on every instruction set. Errors are relative to the largest output; signs of
/// retention cancel, so that an output may come out small beside what it is made of.
template <typename T>
void expect_near(const Example& e, const Expected& expected, double error) {
  const double unit = std::max(largest(expected.out), 1e-3 * largest(e.v));
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    for (const Path path : {Path::chunked, Path::recurrent}) {
      SCOPED_TRACE(path == Path::chunked ? "chunked" : "recurrent");
      Trial<T> run(e, isa);
      run.forward(path);
      EXPECT_LE(distance(run.out.values(), expected.out), error * unit);
      expect_log_sum_exp(run.log_sum_exp, expected.log_sum_exp, std::min(error, 1e-5));
    }
  }
}

void expect_near_definition(const Example& e) {
  // What bf16 holds without rounding, the other types do too.
  const Example rounded = Trial<bf16>(e).rounded();
  const Expected expected{reference(rounded),
                          is_normalised(e) ? reference_log_sum_exp(rounded) : std::vector<double>()};
  expect_near<double>(rounded, expected, 1e-12);
  expect_near<float>(rounded, expected, 1e-5);
  expect_near<bf16>(rounded, expected, 0x1p-8);
}

TEST(LinearAttention, AllWaysEqualTheDefinition) {
  for_each_example(expect_near_definition);
}

TEST(LinearAttention, LongSequencesStayAccurate) {
  for_each_variant({"long", {{1500, 1500}}, 1, 1, 8, 8, 16}, expect_near_definition);
}

// States.

/// Splits every sequence of `e` (which has as many queries as keys) at `cuts`, and computes part after part, passing on
/// the state; parts of up to `recurrent` tokens token by token.
template <typename T>
std::vector<double> in_parts(const Example& e, const std::vector<int>& cuts, int recurrent, bool in_place) {
  Trial<T> run(e);
  Problem p = run.problem();
  const auto size = static_cast<std::size_t>(state_size(p)) * e.sequences.size();
  std::vector<Scalar<T>> states(size), next(size, static_cast<Scalar<T>>(untouched));
  for (std::size_t part = 0; part + 1 < cuts.size(); ++part) {
    std::vector<Span> spans;
    for (const Span& s : e.sequences) {
      const std::int32_t first = std::min(cuts[part], s.key_count), end = std::min(cuts[part + 1], s.key_count);
      spans.push_back({s.query_begin + first, end - first, s.key_begin + first, end - first});
    }
    p.sequences = spans;
    run.form.path = cuts[part + 1] - cuts[part] <= recurrent ? Path::recurrent : Path::chunked;
    attention::forward(run.kernels, p, run.inputs(part == 0 ? nullptr : states.data()),
                       run.outputs(in_place ? states.data() : next.data()), 1);
    if (!in_place) std::swap(states, next);
  }
  return run.out.values();
}

template <typename T>
void expect_parts_make_the_whole(double error) {
  const Shape shape{"parts", {{203, 203}, {65, 65}, {1, 1}, {0, 0}, {130, 130}}, 4, 2, 20, 36, 40};
  for (const Variant& variant : variants()) {
    if (!variant.causal) continue;
    SCOPED_TRACE(variant.name);
    const Example e = example_of(shape, variant);
    const std::vector<double> expected = Trial<T>(e).forward().out.values();
    std::vector<int> singles;
    for (int i = 0; i <= 203; ++i) singles.push_back(i);
    for (const std::vector<int>& cuts : {std::vector<int>{0, 203},
                                         {0, 1, 203},
                                         {0, 64, 203},
                                         {0, 100, 101, 102, 103, 110, 203},
                                         {0, 63, 64, 65, 203},
                                         {0, 0, 7, 7, 150, 203, 203},
                                         singles}) {
      for (const bool in_place : {false, true}) {
        EXPECT_LE(relative_distance(in_parts<T>(e, cuts, 10, in_place), expected), error);
      }
    }
  }
}

TEST(LinearAttention, AnyCompositionOfPrefillAndStepsIsEqual) {
  expect_parts_make_the_whole<double>(1e-12);
  expect_parts_make_the_whole<float>(1e-5);
}

TEST(LinearAttention, StatesAreWhatTheHeaderSays) {
  const Shape shape{"states", {{70, 70}, {5, 5}, {0, 0}}, 4, 2, 6, 5, 7};
  for_each_variant(shape, [&](const Example& e) {
    for (const Path path : {Path::chunked, Path::recurrent}) {
      Trial<double> run(e);
      run.forward_with_states(path);
      const bool favor = e.kind == Kind::favor;
      const bool per_head = e.kind == Kind::retention;
      const auto width = static_cast<std::size_t>(favor ? shape.features : e.d_key);
      const std::size_t columns = 5, matrix = width * columns;
      const std::size_t size = matrix + (is_normalised(e) ? width : 0) + (favor ? width : 0);
      const std::size_t states = per_head ? 4 : 2;
      ASSERT_EQ(static_cast<std::size_t>(state_size(run.problem())), states * size);
      for (std::size_t n = 0; n < 3; ++n) {
        const Span& s = e.sequences[n];
        for (std::size_t index = 0; index < states; ++index) {
          const double* state = run.states.data() + (n * states + index) * size;
          const int head = static_cast<int>(per_head ? index : index * 2);
          std::vector<double> sums(matrix), norm(width), delta(matrix);
          for (int j = 0; j < s.key_count; ++j) {
            reference_step(e, s, j, head, delta);
            for (std::size_t f = 0; f < width; ++f) {
              const double phi = features_of(e, e.key(s, j, head), favor ? state[matrix + width + f] : 0)[f];
              const double decay = per_head ? std::pow(e.decays[index], s.key_count - 1 - j) : 1;
              norm[f] += phi;
              for (std::size_t i = 0; i < columns; ++i) sums[f * columns + i] += decay * phi * e.value(s, j, head)[i];
            }
          }
          for (std::size_t f = 0; f < width; ++f) {
            for (std::size_t i = 0; i < columns; ++i) {
              const double expected = e.kind == Kind::gated_delta ? delta[i * width + f] : sums[f * columns + i];
              EXPECT_NEAR(state[f * columns + i], expected, 1e-12 * (1 + std::abs(expected)));
            }
            if (is_normalised(e)) {
              EXPECT_NEAR(state[matrix + f], norm[f], 1e-12 * (1 + norm[f]));
            }
          }
        }
      }
    }
  });
}

TEST(LinearAttention, MemoryOfAnEncoderIsReadByQueriesAlone) {
  for (const Variant& variant : variants()) {
    if (variant.causal) continue;
    SCOPED_TRACE(variant.name);
    const Example e = example_of({"", {{70, 90}, {3, 20}}, 4, 2, 9, 10, 16}, variant);
    const std::vector<double> expected = Trial<double>(e).forward().out.values();
    Trial<double> run(e);
    Problem p = run.problem();
    std::vector<double> states(2 * static_cast<std::size_t>(state_size(p)));
    for (const Path path : {Path::chunked, Path::recurrent}) {
      std::vector<Span> keys = e.sequences, queries = e.sequences;
      for (Span& s : keys) s.query_count = 0;
      for (Span& s : queries) s.key_count = 0;
      run.form.path = path;
      p.sequences = keys;
      attention::forward(run.kernels, p, run.inputs(), run.outputs(states.data()), 2);
      p.sequences = queries;
      attention::forward(run.kernels, p, run.inputs(states.data()), run.outputs(), 2);
      EXPECT_LE(relative_distance(run.out.values(), expected), 1e-12);
    }
  }
}

TEST(LinearAttention, FewKeysWithAStateGoTokenByToken) {
  for (const Variant& variant : variants()) {
    const Example e = example_of({"", {{4, 4}, {5, 5}}, 2, 2, 12, 12, 16}, variant);
    const auto run = [&](Path path) {
      Trial<float> trial(e);
      trial.forward_with_states(path);
      return trial.out;
    };
    const auto automatic = run(Path::automatic), chunked = run(Path::chunked), recurrent = run(Path::recurrent);
    EXPECT_TRUE(same_bits(automatic.part(0, 4), recurrent.part(0, 4)));
    EXPECT_TRUE(same_bits(automatic.part(4, 5), chunked.part(4, 5)));
  }
}

// Gradients.

/// sum(out d_out), whose gradients the backward pass computes.
double loss(const Example& e) {
  Trial<double> run(e, kernels::isa(), 1);
  const std::vector<double> out = run.forward().out.values();
  return std::inner_product(out.begin(), out.end(), e.d_out.begin(), 0.0);
}

void expect_gradient(const Example& e, std::vector<double> Example::*input, const std::vector<double>& gradient) {
  const std::vector<double> differences = central_differences(e, input, loss);
  EXPECT_LE(distance(gradient, differences), 1e-6 * std::max(largest(differences), 1e-3));
}

void expect_gradients(const Example& e) {
  Trial<double> run(e);
  run.backward();
  expect_gradient(e, &Example::q, run.dq.values());
  expect_gradient(e, &Example::k, run.dk.values());
  expect_gradient(e, &Example::v, run.dv.values());
  if (e.kind == Kind::gated_delta) {
    expect_gradient(e, &Example::alpha, run.d_alpha.values());
    expect_gradient(e, &Example::beta, run.d_beta.values());
  }
  if (e.kind == Kind::retention) expect_gradient(e, &Example::decays, run.d_decays);
}

TEST(LinearAttention, GradientsAreThoseOfFiniteDifferences) {
  for_each_variant({"short", {{7, 7}, {1, 3}, {5, 2}, {3, 9}, {0, 2}, {2, 0}}, 4, 2, 3, 5, 7}, expect_gradients);
  for_each_variant({"several chunks", {{140, 140}}, 1, 1, 2, 3, 5}, expect_gradients);
  for_each_variant({"unequal lengths", {{66, 131}, {67, 64}}, 2, 1, 2, 1, 3}, expect_gradients);
}

TEST(LinearAttention, GatesAndDecaysOfZeroHaveGradients) {
  const Shape shape{"zeros", {{70, 70}}, 2, 1, 2, 3};
  Example delta = example_of(shape, {"", Kind::gated_delta, true});
  for (const std::size_t i : {0u, 3u, 4u, 40u, 63u, 64u, 69u}) delta.alpha[i] = 0;
  for (const std::size_t i : {5u, 20u}) delta.alpha[i] = -0.5;
  delta.beta[7] = 0;
  expect_gradients(delta);
  Example retention = example_of(shape, {"", Kind::retention, true});
  retention.decays = {1, 0.5};
  Trial<double> run(retention);
  run.backward();
  expect_gradient(retention, &Example::q, run.dq.values());
  // At the edges of what is allowed, the difference is that of the definition, whose sums are polynomials.
  for (const double decay : {0.0, 1.0}) {
    retention.decays = {decay, decay};
    Trial<double> edge(retention);
    edge.backward();
    Example moved = retention;
    double expected = 0;
    for (const double step : {1e-5, -1e-5}) {
      moved.decays[0] = decay + step;
      const std::vector<double> out = reference(moved);
      for (std::size_t i = 0; i < out.size(); ++i) expected += out[i] * moved.d_out[i] / (2 * step);
    }
    EXPECT_NEAR(edge.d_decays[0], expected, 1e-5 * std::abs(expected));
  }
}

template <typename T>
void expect_gradients_near(const Example& e, Trial<double>& exact, double error) {
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<T> run(e, isa);
    run.backward();
    // Where gradients cancel, as those of a lone key do, they are small beside what they are made of.
    const auto expect_close = [&](const std::vector<double>& found, const std::vector<double>& expected) {
      EXPECT_LE(distance(found, expected), error * std::max(1.0, largest(expected)));
    };
    expect_close(run.dq.values(), exact.dq.values());
    expect_close(run.dk.values(), exact.dk.values());
    expect_close(run.dv.values(), exact.dv.values());
    if (e.kind == Kind::gated_delta) {
      expect_close(run.d_alpha.values(), exact.d_alpha.values());
      expect_close(run.d_beta.values(), exact.d_beta.values());
    }
    if (e.kind == Kind::retention) expect_close(doubles(run.d_decays), exact.d_decays);
  }
}

TEST(LinearAttention, GradientsOfAllTypesAreNearThoseOfFloat64) {
  for_each_example([](const Example& e) {
    const Example rounded = Trial<bf16>(e).rounded();
    Trial<double> exact(rounded);
    exact.backward();
    // A single feature may be so small that what cancels is many times larger than what is left.
    expect_gradients_near<float>(rounded, exact, e.d_key == 1 ? 1e-3 : 2e-5);
    expect_gradients_near<bf16>(rounded, exact, 0x1p-8);
  });
}

TEST(LinearAttention, GradientsOfGatesMayBeLeftOut) {
  const Shape shape{"", {{70, 70}}, 2, 2, 6, 4};
  for (const Kind kind : {Kind::gated_delta, Kind::retention}) {
    const Example e = example_of(shape, {"", kind, true});
    Trial<float> expected(e), run(e);
    expected.backward();
    attention::backward(run.kernels, run.problem(), run.inputs(), {}, run.d_out.rows(),
                        {.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows()}, 1);
    EXPECT_TRUE(same_bits(run.dq.data, expected.dq.data));
    EXPECT_TRUE(same_bits(run.dk.data, expected.dk.data));
    EXPECT_TRUE(same_bits(run.dv.data, expected.dv.data));
  }
}

// The same bits, however the work is split.

/// One long sequence, which is split over threads, among short ones; or the long one alone.
Example mixed_example(const Variant& variant, bool alone) {
  std::vector<std::pair<int, int>> lengths{{1500, 1500}};
  if (!alone) {
    lengths.insert(lengths.end(), {{0, 5}, {5, 0}, {300, 500}, {90, 70}});
    for (int i = 0; i < 20; ++i) lengths.emplace_back(1 + i * 7 % 60, 1 + i * 11 % 60);
  }
  return example_of({"", lengths, 4, 2, 24, 70, 40}, variant);
}

template <typename T>
void expect_same_bits(const Trial<T>& a, const Trial<T>& b) {
  EXPECT_TRUE(same_bits(a.out.data, b.out.data));
  EXPECT_TRUE(same_bits(a.states, b.states));
  EXPECT_TRUE(same_bits(a.dq.data, b.dq.data));
  EXPECT_TRUE(same_bits(a.dk.data, b.dk.data));
  EXPECT_TRUE(same_bits(a.dv.data, b.dv.data));
  EXPECT_TRUE(same_bits(a.d_alpha.data, b.d_alpha.data));
  EXPECT_TRUE(same_bits(a.d_beta.data, b.d_beta.data));
  EXPECT_TRUE(same_bits(a.d_decays, b.d_decays));
}

template <typename T>
void run_all(Trial<T>& trial) {
  // States do not go with queries before the first key.
  const bool stateful = std::none_of(trial.example.sequences.begin(), trial.example.sequences.end(),
                                     [](const Span& s) { return s.query_count > s.key_count; });
  stateful ? trial.forward_with_states() : trial.forward();
  trial.backward();
}

template <typename T>
void expect_threads_change_nothing(const Example& e) {
  Trial<T> expected(e, kernels::isa(), 1);
  run_all(expected);
  for (const int threads : {2, 3, 5}) {
    Trial<T> run(e, kernels::isa(), threads);
    run_all(run);
    expect_same_bits(run, expected);
    if (e.kind == Kind::gated_delta) continue;
    EXPECT_TRUE(same_bits(run.weights(0, e.heads - 1), expected.weights(0, e.heads - 1)));
  }
}

TEST(LinearAttention, ThreadsDoNotChangeABit) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    for (const bool alone : {false, true}) expect_threads_change_nothing<float>(mixed_example(variant, alone));
    expect_threads_change_nothing<bf16>(mixed_example(variant, true));
    expect_threads_change_nothing<double>(example_of({"", {{600, 600}}, 1, 1, 40, 40, 40}, variant));
  }
}

template <typename T>
void expect_alone_as_in_batch(const Example& e) {
  Trial<T> batch(e, kernels::isa(), 3);
  batch.forward().backward();
  for (const Span& s : e.sequences) {
    Example single = e;
    single.sequences = {s};
    // Storage is cut off after the last row named: the rows of this sequence stay where they were.
    const auto cut = [](std::vector<double>& x, std::int64_t size) { x.resize(static_cast<std::size_t>(size)); };
    cut(single.q, single.query_tokens() * e.heads * e.d_key);
    cut(single.k, single.key_tokens() * e.kv_heads * e.d_key);
    cut(single.v, single.key_tokens() * e.kv_heads * e.d_value);
    cut(single.d_out, single.query_tokens() * e.heads * e.d_value);
    cut(single.alpha, single.key_tokens() * e.kv_heads);
    cut(single.beta, single.key_tokens() * e.kv_heads);
    Trial<T> alone(single, kernels::isa(), 3);
    alone.forward().backward();
    const auto expect_part = [](const auto& a, const auto& b, std::int32_t begin, std::int32_t count) {
      EXPECT_TRUE(same_bits(a.part(begin, count), b.part(begin, count)));
    };
    expect_part(alone.out, batch.out, s.query_begin, s.query_count);
    expect_part(alone.dq, batch.dq, s.query_begin, s.query_count);
    expect_part(alone.dk, batch.dk, s.key_begin, s.key_count);
    expect_part(alone.dv, batch.dv, s.key_begin, s.key_count);
    expect_part(alone.d_alpha, batch.d_alpha, s.key_begin, s.key_count);
    expect_part(alone.d_beta, batch.d_beta, s.key_begin, s.key_count);
  }
}

TEST(LinearAttention, ASequenceAloneGivesTheBitsItGivesInABatch) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    expect_alone_as_in_batch<float>(mixed_example(variant, false));
    expect_alone_as_in_batch<bf16>(mixed_example(variant, false));
  }
}

// Weights.

TEST(LinearAttention, WeightsAreThoseOfTheDefinition) {
  for_each_example([](const Example& e) {
    if (e.kind == Kind::gated_delta) return;
    for (const kernels::Isa isa : instruction_sets()) {
      Trial<double> run(e, isa);
      run.forward();
      for (int n = 0; n < static_cast<int>(e.sequences.size()); ++n) {
        const Span& s = e.sequences[static_cast<std::size_t>(n)];
        const std::vector<float> found = run.weights(n, e.heads - 1);
        const std::vector<double> expected = reference_weights(e, s, e.heads - 1);
        EXPECT_LE(relative_distance(doubles(found), expected), 2e-7);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          if (expected[i] == 0) {
            EXPECT_EQ(found[i], 0);
          }
        }
      }
    }
  });
}

TEST(LinearAttention, TheDeltaRuleHasNoWeights) {
  const Example e = example_of({"", {{3, 3}}, 1, 1, 2, 2}, {"", Kind::gated_delta, true});
  Trial<float> run(e);
  EXPECT_NE(error_of([&] { run.weights(0, 0); }).find("later keys rewrite"), std::string::npos);
}

// FAVOR+.

std::vector<double> softmax_attention(const Example& e) {
  std::vector<double> out;
  for (const Span& s : e.sequences) {
    for (int i = 0; i < s.query_count; ++i) {
      std::vector<double> sum(static_cast<std::size_t>(e.d_value));
      double total = 0;
      for (int j = 0; j < e.visible(s, i); ++j) {
        const double weight = std::exp(e.scale * product(e.query(s, i, 0), e.key(s, j, 0), e.d_key));
        total += weight;
        for (int c = 0; c < e.d_value; ++c) sum[static_cast<std::size_t>(c)] += weight * e.value(s, j, 0)[c];
      }
      for (const double x : sum) out.push_back(x / total);
    }
  }
  return out;
}

TEST(LinearAttention, FavorConvergesToSoftmaxAttention) {
  for (const bool causal : {false, true}) {
    Example e{.sequences = end_to_end({{100, 100}}), .d_key = 16, .d_value = 8, .scale = 0.25, .kind = Kind::favor};
    e.causal = causal;
    e.fill(11);
    for (double& x : e.q) x *= 0.5;
    for (double& x : e.k) x *= 0.5;
    const std::vector<double> expected = softmax_attention(e);
    const auto error_with = [&](int count) {
      double sum = 0;
      constexpr int draws = 8;
      for (std::uint64_t seed = 0; seed < draws; ++seed) {
        e.features = RandomFeatures(count, 16, seed);
        const double error = root_mean_square(Trial<float>(e).forward().out.values(), expected);
        sum += error * error / draws;
      }
      return std::sqrt(sum);
    };
    // The error of a mean of n estimates is that of one over sqrt(n): 16 times the features, a quarter of it.
    const double few = error_with(64), many = error_with(1024), most = error_with(16384);
    EXPECT_NEAR(many / few, 0.25, 0.08);
    EXPECT_NEAR(most / many, 0.25, 0.08);
    EXPECT_LE(most, 0.01);
  }
}

TEST(LinearAttention, DirectionsAreOrthogonalAndOfTheLengthsOfNormalVectors) {
  constexpr int d = 24, count = 24 * 40 + 5;
  const RandomFeatures features(count, d, 3);
  EXPECT_EQ(features.count(), count);
  EXPECT_EQ(features.d_key(), d);
  const RandomFeatures::Directions& w = *features.directions();
  double squares = 0, mean = 0;
  for (int a = 0; a < count; ++a) {
    const double* row = w.f64.data() + a * w.stride;
    squares += product(row, row, d) / count;
    for (int i = 0; i < d; ++i) mean += row[i] / (count * d);
    for (int b = a / d * d; b < a; ++b) EXPECT_LE(std::abs(product(row, w.f64.data() + b * w.stride, d)), 1e-12 * d);
  }
  EXPECT_NEAR(squares, d, 5 * std::sqrt(2.0 * d / count));
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(static_cast<double>(count * d)));
  const RandomFeatures same(count, d, 3), other(count, d, 4);
  EXPECT_EQ(same.directions()->f64, w.f64);
  EXPECT_NE(other.directions()->f64, w.f64);
}

/// Queries and keys so long that exponents spread over hundreds, or few of them.
Example favor_example(bool causal, double magnitude) {
  Example e{.sequences = end_to_end({{130, 130}}), .d_key = 8, .d_value = 4, .kind = Kind::favor, .causal = causal};
  e.features = RandomFeatures(64, 8, 1);
  e.fill(12);
  for (double& x : e.k) x *= magnitude;
  for (double& x : e.q) x *= magnitude;
  return Trial<float>(e).rounded();
}

TEST(LinearAttention, FavorIsAccurateForLongKeys) {
  for (const bool causal : {false, true}) {
    const Example e = favor_example(causal, 3);
    const std::vector<double> expected = reference(e);
    for (const Path path : {Path::chunked, Path::recurrent}) {
      // Exponents of a hundred have a rounding of 10^-5 in float32, which is what their powers differ by.
      EXPECT_LE(relative_distance(Trial<float>(e).forward(path).out.values(), expected), 2e-5);
    }
  }
}

TEST(LinearAttention, FavorDoesNotOverflow) {
  for (const bool causal : {false, true}) {
    const Example e = favor_example(causal, 10);
    for (const Path path : {Path::chunked, Path::recurrent}) {
      Trial<float> run(e);
      // Weights are positive and sum to 1, or are all 0.
      EXPECT_LE(largest(run.forward(path).out.values()), largest(e.v) * (1 + 1e-5));
    }
    Trial<float> run(e);
    run.backward();
    for (const Storage<float>* x : {&run.dq, &run.dk, &run.dv}) {
      const std::vector<double> values = x->values();
      EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }));
    }
  }
}

// What is not there.

TEST(LinearAttention, AZeroDenominatorGivesZeros) {
  for (const bool causal : {false, true}) {
    Example e = example_of({"", {{130, 130}}, 2, 1, 5, 4}, {"", Kind::relu, causal});
    for (double& x : e.q) x = -std::abs(x);
    for (const Path path : {Path::chunked, Path::recurrent}) {
      EXPECT_EQ(largest(Trial<float>(e).forward(path).out.values()), 0);
    }
    Trial<float> run(e);
    run.forward().backward();
    for (const Storage<float>* x : {&run.dq, &run.dk, &run.dv}) EXPECT_EQ(largest(x->values()), 0);
    for (const float x : run.log_sum_exp) EXPECT_EQ(x, -std::numeric_limits<float>::infinity());
    for (const float weight : run.weights(0, 1)) EXPECT_EQ(weight, 0);
  }
}

TEST(LinearAttention, AQueryThatSeesNothingGivesZeros) {
  for_each_variant({"", {{70, 2}, {3, 0}}, 2, 2, 6, 4}, [](const Example& e) {
    if (!e.causal) return;
    for (const Path path : {Path::chunked, Path::recurrent}) {
      Trial<float> run(e);
      run.forward(path).backward();
      for (std::int32_t token = 0; token < 73; ++token) {
        if (token == 68 || token == 69) continue;
        for (int i = 0; i < 2 * 4; ++i) EXPECT_EQ(run.out.part(token, 1)[static_cast<std::size_t>(i)], 0);
        for (int i = 0; i < 2 * 6; ++i) EXPECT_EQ(run.dq.part(token, 1)[static_cast<std::size_t>(i)], 0);
      }
    }
  });
}

TEST(LinearAttention, AStateWithoutTokensStaysAsItIs) {
  const Shape shape{"", {{0, 0}, {5, 5}}, 2, 1, 6, 4, 8};
  for_each_variant(shape, [](const Example& e) {
    for (const Path path : {Path::chunked, Path::recurrent}) {
      Trial<float> run(e);
      run.forward_with_states(path);
      const std::vector<float> before = run.states;
      Problem p = run.problem();
      std::vector<Span> nothing(2);
      p.sequences = nothing;
      std::vector<float> after(before.size(), 1.0f);
      attention::forward(run.kernels, p, run.inputs(before.data()), run.outputs(after.data()), 2);
      EXPECT_TRUE(same_bits(before, after));
      EXPECT_EQ(largest({before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before.size() / 2)}), 0);
    }
  });
}

TEST(LinearAttention, WritesOnlyTheRowsOfTheSequences) {
  for (const Variant& variant : variants()) {
    Example e = example_of({"", {}, 2, 1, 5, 6}, variant);
    e.sequences = {{2, 3, 4, 5}, {8, 1, 12, 2}};
    e.fill(7);
    Trial<float> run(e);
    run.forward().backward();
    for (const Storage<float>* x : {&run.out, &run.dq}) {
      for (std::int32_t token = 0; token < 9; ++token) {
        EXPECT_EQ(x->is_untouched(token, 0, x->width), token < 2 || (token >= 5 && token < 8));
        EXPECT_TRUE(x->is_untouched(token, x->width, x->width + x->gap));
      }
    }
    for (const Storage<float>* x : {&run.dk, &run.dv, &run.d_alpha, &run.d_beta}) {
      const bool gates = x == &run.d_alpha || x == &run.d_beta;
      if (gates && e.kind != Kind::gated_delta) continue;
      for (std::int32_t token = 0; token < 14; ++token) {
        EXPECT_EQ(x->is_untouched(token, 0, x->width), token < 4 || (token >= 9 && token < 12));
        EXPECT_TRUE(x->is_untouched(token, x->width, x->width + x->gap));
      }
    }
  }
}

TEST(LinearAttention, SequencesMayShareKeys) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Example e = example_of({"", {}, 4, 2, 16, 16}, variant);
    e.sequences = {{0, 1, 10, 70}, {1, 1, 10, 70}, {3, 2, 0, 75}};
    e.fill(9);
    Trial<double> run(e);
    EXPECT_LE(relative_distance(run.forward().out.values(), reference(e)), 1e-12);
  }
}

// Errors.

/// A call that a test spoils.
struct Refused {
  Problem& problem;
  LinearForm& form;
  Inputs& inputs;
  Outputs& outputs;
};

void expect_refused(Kind kind, const std::string& part, void (*change)(const Refused& call)) {
  const Example e = example_of({"", {{3, 3}}, 2, 2, 4, 4, 8}, {"", kind, true});
  Trial<float> run(e);
  Problem p = run.problem();
  Inputs inputs = run.inputs();
  Outputs outputs = run.outputs();
  change(Refused{p, run.form, inputs, outputs});
  const std::string message = error_of([&] { attention::forward(run.kernels, p, inputs, outputs, 1); });
  EXPECT_NE(message.find(part), std::string::npos) << message << "\ninstead of " << part;
  for (const float x : run.out.data) EXPECT_EQ(x, static_cast<float>(untouched));
}

TEST(LinearAttention, WhatDoesNotFitIsRefused) {
  using R = Refused;
  expect_refused(Kind::relu, "2 query heads cannot share 0", [](const R& r) { r.problem.kv_heads = 0; });
  expect_refused(Kind::relu, "must lie in 1..1024", [](const R& r) { r.problem.d_value = 1025; });
  expect_refused(Kind::relu, "k is f64", [](const R& r) { r.inputs.k.dtype = DType::f64; });
  expect_refused(Kind::relu, "must be f32, bf16 or f64", [](const R& r) { r.inputs.q.dtype = DType::i32; });
  expect_refused(Kind::relu, "the stride 7 of v", [](const R& r) { r.inputs.v.stride = 7; });
  expect_refused(Kind::relu, "the scale is nan", [](const R& r) { r.problem.scale = std::nan(""); });
  expect_refused(Kind::relu, "negative bound", [](const R& r) {
    static const Span bad{0, -1, 0, 1};
    r.problem.sequences = {&bad, 1};
  });
  expect_refused(Kind::relu, "2 queries for 1 new keys", [](const R& r) {
    static const Span more{0, 2, 0, 1};
    static float state[100];
    r.problem.sequences = {&more, 1};
    r.inputs.states = state;
  });
  expect_refused(Kind::retention, "causal form only", [](const R& r) { r.problem.visibility = {}; });
  expect_refused(Kind::retention, "needs its decays", [](const R& r) { r.form.decays = nullptr; });
  expect_refused(Kind::retention, "the decay 1.5 of head 1", [](const R& r) {
    static const float decays[2]{0.5f, 1.5f};
    r.form.decays = decays;
  });
  expect_refused(Kind::favor, "needs RandomFeatures", [](const R& r) { r.form.features = {}; });
  expect_refused(Kind::favor, "for heads of 5, not 4", [](const R& r) { r.form.features = RandomFeatures(3, 5, 1); });
  expect_refused(Kind::favor, "must be positive", [](const R& r) { r.problem.scale = 0; });
  expect_refused(Kind::gated_delta, "alpha is bf16", [](const R& r) { r.form.alpha.dtype = DType::bf16; });
  expect_refused(Kind::gated_delta, "stride 1 of beta", [](const R& r) { r.form.beta.stride = 1; });
  EXPECT_THROW(RandomFeatures(0, 4, 1), Error);
  EXPECT_THROW(RandomFeatures(4, 0, 1), Error);
}

TEST(LinearAttention, WhatBelongsToSoftmaxIsRefused) {
  using R = Refused;
  static const float numbers[16] = {};
  for (const Kind kind : {Kind::elu_plus_one, Kind::relu, Kind::favor, Kind::retention, Kind::gated_delta}) {
    const auto refused = [&](const std::string& what, void (*change)(const R&)) {
      expect_refused(kind, what + " cannot go with a linear form (" + std::string(name_of(kind)) + ")", change);
    };
    refused("a soft cap", [](const R& r) { r.problem.soft_cap = 30; });
    refused("a bias", [](const R& r) { r.problem.bias.data = numbers; });
    refused("a relative bias", [](const R& r) { r.problem.relative.table = numbers; });
    refused("ALiBi's slopes", [](const R& r) { r.problem.alibi_slopes = numbers; });
    refused("sinks", [](const R& r) { r.problem.sinks = numbers; });
    refused("dropout", [](const R& r) { r.problem.dropout.probability = 0.1f; });
    refused("pages", [](const R& r) {
      static const std::int32_t table[1] = {};
      r.problem.pages = {.size = 8, .table = table};
    });
    expect_refused(kind, "not window(3, 0)", [](const R& r) { r.problem.visibility = Visibility::window(3, 0); });
    expect_refused(kind, "not causal(start)",
                   [](const R& r) { r.problem.visibility = Visibility::causal(Align::start); });
  }
  for (const Kind kind : {Kind::retention, Kind::gated_delta}) {
    expect_refused(kind, "has no log_sum_exp", [](const R& r) {
      static float place[6];
      r.outputs.log_sum_exp = place;
    });
  }
}

TEST(LinearAttention, GradientsOfWhatTheFormHasNotAreRefused) {
  const Example e = example_of({"", {{3, 3}}, 2, 2, 4, 4, 8}, {"", Kind::relu, true});
  Trial<float> run(e);
  std::vector<float> place(64);
  const auto refused = [&](const std::string& part, auto change, const void* states = nullptr) {
    Gradients gradients{.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows()};
    change(gradients);
    const std::string message = error_of([&] {
      attention::backward(run.kernels, run.problem(), run.inputs(states), {}, run.d_out.rows(), gradients, 1);
    });
    EXPECT_NE(message.find(part), std::string::npos) << message << "\ninstead of " << part;
    for (const float x : run.dq.data) EXPECT_EQ(x, static_cast<float>(untouched));
  };
  refused("the scale", [&](Gradients& g) { g.scale = place.data(); });
  refused("a gradient of a bias", [&](Gradients& g) { g.bias = place.data(); });
  refused("a gradient of sinks", [&](Gradients& g) { g.sinks = place.data(); });
  refused("a gradient of decays", [&](Gradients& g) { g.decays = place.data(); });
  refused("a gradient of alpha", [&](Gradients& g) { g.alpha = run.d_alpha.rows(); });
  refused("ask the forward pass for key_mass", [&](Gradients& g) { g.key_mass = place.data(); });
  refused("ask the forward pass for key_mass", [&](Gradients& g) { g.bins = 2, g.pooled = place.data(); });
  refused(
      "through a state", [](Gradients&) {}, place.data());
}

TEST(LinearAttention, StatesGoWithLinearFormsOnly) {
  const Example e = example_of({"", {{3, 3}}, 2, 2, 4, 4, 8}, {"", Kind::relu, true});
  Trial<float> run(e);
  std::vector<float> states(static_cast<std::size_t>(state_size(run.problem())));
  Problem softmax = run.problem();
  softmax.linear = nullptr;
  EXPECT_EQ(state_size(softmax), 0);
  for (const bool before : {false, true}) {
    const std::string message = error_of([&] {
      attention::forward(softmax, run.inputs(before ? states.data() : nullptr),
                         run.outputs(before ? nullptr : states.data()));
    });
    EXPECT_NE(message.find("softmax keeps no state"), std::string::npos) << message;
  }
  // And weights of keys in a state are nobody's.
  std::vector<float> weights(9);
  const std::string message = error_of(
      [&] { attention::weights(run.problem(), run.inputs(states.data()), run.log_sum_exp.data(), 0, 0, weights); });
  EXPECT_NE(message.find("lie in a state"), std::string::npos) << message;
}

TEST(LinearAttention, ExplainTellsTheFormAndTheWay) {
  const Example e = example_of({"", {{3, 3}, {9, 9}}, 2, 2, 4, 4, 8}, {"", Kind::favor, true});
  Trial<float> run(e);
  const auto ends = [&](const std::string& end) {
    const std::string text = explain(run.problem(), DType::f32);
    EXPECT_TRUE(text.ends_with(end)) << text;
  };
  ends("visibility causal; linear form favor with 8 random features, in chunks of 64 tokens");
  run.form.path = Path::recurrent;
  ends("token by token");
  run.form.path = Path::automatic;
  ends("with states, 1 of 2 sequences (at most 4 new keys) token by token");
}

TEST(LinearAttention, SharedKeysHaveNoGradient) {
  Example e = example_of({"", {}, 1, 1, 2, 2}, {"", Kind::relu, true});
  e.sequences = {{0, 2, 0, 2}, {2, 2, 1, 2}};
  e.fill(1);
  Trial<float> run(e);
  EXPECT_THROW(run.backward(), Error);
  for (const float x : run.dq.data) EXPECT_EQ(x, static_cast<float>(untouched));
}

}  // namespace
}  // namespace rapt::attention::linear
