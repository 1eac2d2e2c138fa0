/// Visibility and what is added to scores, in the operator: random compositions against the plain loops.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "attention/reference.h"

namespace rapt::attention {
namespace {

Visibility random_visibility(RandomSequence& random, int depth) {
  const auto below = [&](std::uint64_t n) { return static_cast<std::int32_t>(random.below(n)); };
  const Align align = below(2) == 0 ? Align::end : Align::start;
  if (depth > 0 && below(2) == 0) {
    const Visibility a = random_visibility(random, depth - 1);
    const Visibility b = random_visibility(random, depth - 1);
    return below(2) == 0 ? a & b : a | b;
  }
  switch (below(7)) {
    case 0:
      return Visibility::causal(align);
    case 1:
      return Visibility::window(below(150), below(150), align);
    case 2:
      return Visibility::prefix(below(200));
    case 3:
      return Visibility::strided(1 + below(9), align);
    case 4:
      return Visibility::same_block(1 + below(100), align);
    case 5:
      return Visibility::global_keys({below(40), below(300)});
    default:
      return Visibility::global_queries({below(40), below(300)}, align);
  }
}

/// A problem with some of everything.
Example random_example(std::uint64_t seed, std::int32_t longest) {
  RandomSequence random(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<int>(random.below(n)); };
  std::vector<std::pair<int, int>> lengths;
  for (int i = 0; i <= below(3); ++i) {
    lengths.emplace_back(below(static_cast<std::uint64_t>(longest)), below(static_cast<std::uint64_t>(longest)));
  }
  Example e{.sequences = end_to_end(lengths)};
  e.kv_heads = 1 + below(2);
  e.heads = e.kv_heads * (1 + below(3));
  e.d_key = 1 + below(40);
  e.d_value = 1 + below(40);
  e.scale = 0.3;
  e.fill(seed + 1);
  e.visibility = random_visibility(random, 2);
  if (below(2) == 0) e.soft_cap = 2;
  if (below(2) == 0) {
    Bias& b = e.bias_strides;
    std::int64_t size = 1;
    const auto stride = [&](std::int64_t count) {
      if (below(3) == 0) return std::int64_t{0};
      const std::int64_t result = size;
      size *= std::max<std::int64_t>(count, 1);
      return result;
    };
    b.by_key = stride(longest);
    b.by_query = stride(longest);
    b.by_head = stride(e.heads);
    b.by_sequence = stride(static_cast<std::int64_t>(e.sequences.size()));
    e.bias = normal_numbers(random, size);
  }
  if (below(2) == 0) {
    e.relative_options = {.buckets = 8, .max_distance = 40, .bidirectional = below(2) == 0};
    e.relative = normal_numbers(random, std::int64_t{8} * e.heads);
  }
  if (below(2) == 0) {
    e.alibi_slopes = normal_numbers(random, e.heads);
    for (double& slope : e.alibi_slopes) slope *= 0.05;
  }
  if (below(2) == 0) e.sinks = normal_numbers(random, e.heads);
  if (below(4) == 0) e.dropout = {.probability = 0.3f, .key = {3, 4}};
  return e;
}

template <typename T>
void expect_forward_of_reference(const Example& example, double error) {
  const Example e = Trial<T>(example).rounded();
  const Reference expected = reference(e);
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<T> run(e, isa);
    run.forward();
    EXPECT_LE(distance(run.out.values(), expected.out), error * std::max(1.0, largest(e.v)));
    EXPECT_LE(distance(doubles(run.log_sum_exp), expected.log_sum_exp), 2 * error * std::max(1.0, largest(e.k) * 8));
  }
}

TEST(AttentionScores, RandomCompositionsEqualThePlainLoops) {
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    const Example e = random_example(seed, seed % 3 == 0 ? 12 : 300);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", " + e.problem().visibility.text());
    expect_forward_of_reference<double>(e, 1e-12);
    expect_forward_of_reference<float>(e, 3e-6);
  }
}

/// The loss that d_out defines.
double loss_of(Example e) {
  Trial<double> run(e, kernels::isa(), 1);
  run.forward();
  const std::vector<double> out = run.out.values();
  double loss = 0;
  for (const Span& s : e.sequences) {
    const auto width = static_cast<std::size_t>(e.heads * e.d_value);
    for (std::size_t i = static_cast<std::size_t>(s.query_begin) * width;
         i < static_cast<std::size_t>(s.query_begin + s.query_count) * width; ++i) {
      loss += out[i] * e.d_out[i];
    }
  }
  return loss;
}

/// Compares a few elements of `gradient` with central differences.
template <typename Get>
void expect_gradient(const std::string& name, const Example& e, Get get, const std::vector<double>& gradient,
                     std::uint64_t seed) {
  SCOPED_TRACE(name);
  RandomSequence random(seed);
  constexpr double step = 1e-5;
  for (int i = 0; i < 6 && !gradient.empty(); ++i) {
    const auto at = static_cast<std::size_t>(random.below(gradient.size()));
    Example up = e, down = e;
    get(up, at) += step;
    get(down, at) -= step;
    const double expected = (loss_of(up) - loss_of(down)) / (2 * step);
    EXPECT_NEAR(gradient[at], expected, 1e-6 * std::max(1.0, std::abs(expected)));
  }
}

TEST(AttentionScores, GradientsOfEverythingAreThoseOfFiniteDifferences) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const Example e = random_example(seed, seed % 2 == 0 ? 20 : 300);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", " + e.problem().visibility.text());
    Trial<double> run(e);
    run.wants_scale = true;
    run.forward().backward();
    const auto member = [](std::vector<double> Example::*values) {
      return [values](Example& x, std::size_t i) -> double& { return (x.*values)[i]; };
    };
    expect_gradient("q", e, member(&Example::q), run.dq.values(), seed);
    expect_gradient("k", e, member(&Example::k), run.dk.values(), seed);
    expect_gradient("v", e, member(&Example::v), run.dv.values(), seed);
    expect_gradient("relative", e, member(&Example::relative), run.d_relative, seed);
    expect_gradient("alibi", e, member(&Example::alibi_slopes), run.d_alibi_slopes, seed);
    expect_gradient("sinks", e, member(&Example::sinks), run.d_sinks, seed);
    expect_gradient(
        "scale", e, [](Example& x, std::size_t) -> double& { return x.scale; }, {run.d_scale}, seed);
    if (e.soft_cap > 0) {
      expect_gradient(
          "soft cap", e, [](Example& x, std::size_t) -> double& { return x.soft_cap; }, {run.d_soft_cap}, seed);
    }
    std::vector<double> d_bias = run.d_bias;
    // Elements of the bias that no pair uses are left alone, unless every sequence shares them.
    for (double& x : d_bias) x = x == untouched ? 0 : x;
    expect_gradient("bias", e, member(&Example::bias), d_bias, seed);
  }
}

TEST(AttentionScores, GradientsInFloat32AgreeWithFloat64) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Example e = Trial<float>(random_example(seed, 300)).rounded();
    SCOPED_TRACE("seed " + std::to_string(seed) + ", " + e.problem().visibility.text());
    Trial<double> exact(e);
    exact.forward().backward();
    for (const kernels::Isa isa : instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      Trial<float> run(e, isa);
      run.forward().backward();
      const auto near = [](const std::vector<double>& found, const std::vector<double>& expected) {
        EXPECT_LE(distance(found, expected), 5e-5 * std::max(1.0, largest(expected)));
      };
      near(run.dq.values(), exact.dq.values());
      near(run.dk.values(), exact.dk.values());
      near(run.dv.values(), exact.dv.values());
      near(doubles(run.d_bias), exact.d_bias);
      near(doubles(run.d_relative), exact.d_relative);
      near(doubles(run.d_alibi_slopes), exact.d_alibi_slopes);
      near(doubles(run.d_sinks), exact.d_sinks);
    }
  }
}

TEST(AttentionScores, ThreadsDoNotChangeABit) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Example e = random_example(seed, 700);
    SCOPED_TRACE("seed " + std::to_string(seed));
    Trial<float> expected(e, kernels::isa(), 1);
    expected.forward().backward();
    for (const int threads : {2, 3, 5}) {
      Trial<float> run(e, kernels::isa(), threads);
      run.forward().backward();
      EXPECT_TRUE(same_bits(run.out.data, expected.out.data));
      EXPECT_TRUE(same_bits(run.dq.data, expected.dq.data));
      EXPECT_TRUE(same_bits(run.dk.data, expected.dk.data));
      EXPECT_TRUE(same_bits(run.dv.data, expected.dv.data));
      EXPECT_TRUE(same_bits(run.d_bias, expected.d_bias));
      EXPECT_TRUE(same_bits(run.d_relative, expected.d_relative));
      EXPECT_TRUE(same_bits(run.d_alibi_slopes, expected.d_alibi_slopes));
    }
  }
}

TEST(AttentionScores, PartsOfTheKeysMergeToTheWhole) {
  Example whole{.sequences = {{0, 40, 0, 700}}, .heads = 4, .kv_heads = 2, .d_key = 24, .d_value = 16, .scale = 0.2};
  whole.fill(5);
  Trial<float> expected(whole);
  expected.forward();
  std::vector<Trial<float>> parts;
  std::vector<Example> examples(3, whole);
  std::int32_t begin = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::int32_t end = std::array<std::int32_t, 3>{100, 513, 700}[i];
    examples[i].sequences = {{0, 40, begin, end - begin}};
    begin = end;
  }
  for (const Example& e : examples) parts.emplace_back(e).forward();
  std::vector<Outputs> outputs;
  for (auto& part : parts) outputs.push_back(part.outputs());
  Trial<float> merged(whole);
  merge({.tokens = 40, .heads = 4, .d_value = 16}, outputs, merged.outputs());
  EXPECT_LE(distance(merged.out.values(), expected.out.values()), 1e-6 * largest(whole.v));
  EXPECT_LE(distance(doubles(merged.log_sum_exp), doubles(expected.log_sum_exp)), 2e-6);
}

TEST(AttentionScores, PagesSayWhereKeysLie) {
  for (const int queries : {2, 60}) {
    Example e{.sequences = {{0, queries, 0, 70}, {queries, queries, 80, 30}},
              .heads = 4,
              .kv_heads = 2,
              .d_key = 12,
              .d_value = 20,
              .causal = true};
    e.sequences[1].key_begin = 80;
    e.fill(6);
    Trial<float> expected(e);
    expected.forward();
    // Pages of 16 rows, stored in another order.
    const std::vector<std::int32_t> table{3, 0, 6, 1, 5, 2, 4};
    Example scattered = e;
    const auto scatter = [&](const std::vector<double>& from, std::vector<double>& to, std::size_t width) {
      to.assign(table.size() * 16 * width, std::nan(""));
      for (std::size_t row = 0; row < from.size() / width; ++row) {
        const std::size_t place = static_cast<std::size_t>(table[row / 16]) * 16 + row % 16;
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(row * width), width,
                    to.begin() + static_cast<std::ptrdiff_t>(place * width));
      }
    };
    scatter(e.k, scattered.k, 24);
    scatter(e.v, scattered.v, 40);
    scattered.sequences.clear();
    Trial<float> run(scattered);
    Storage<float> out(e.query_tokens(), 80, untouched);
    Problem problem = e.problem();
    problem.pages = {.size = 16, .table = table};
    Storage<float> q(e.q, 48);
    forward(problem, {q.rows(), run.k.rows(), run.v.rows()}, {.out = out.rows()});
    EXPECT_TRUE(same_bits(out.data, expected.out.data));
    problem.pages.table = std::span(table).first(5);
    EXPECT_THROW(forward(problem, {q.rows(), run.k.rows(), run.v.rows()}, {.out = out.rows()}), Error);
  }
}

TEST(AttentionScores, BucketsAreThoseOfT5) {
  // Raffel et al.: with 32 buckets and distances up to 128, half of the buckets look back.
  const RelativeBias both{};
  const std::vector<std::pair<int, int>> expected{{0, 0},  {-1, 1},   {-7, 7},   {-8, 8},    {-12, 9},    {1, 17},
                                                  {8, 24}, {127, 31}, {128, 31}, {-128, 15}, {-1000, 15}, {1000, 31}};
  for (const auto& [distance_, bucket] : expected) EXPECT_EQ(relative_bucket(both, distance_), bucket) << distance_;
  const RelativeBias back{.bidirectional = false};
  EXPECT_EQ(relative_bucket(back, 5), 0);
  EXPECT_EQ(relative_bucket(back, -15), 15);
  EXPECT_EQ(relative_bucket(back, -16), 16);
  EXPECT_EQ(relative_bucket(back, -127), 31);
}

TEST(AttentionScores, ExplainsItsWay) {
  Example e{.sequences = {{0, 1, 0, 70}, {1, 60, 70, 60}}, .heads = 4, .kv_heads = 2, .d_key = 12, .d_value = 20};
  Problem problem = e.problem();
  problem.visibility = Visibility::causal() & Visibility::window(7, 0);
  const std::string text = explain(problem, DType::f32);
  EXPECT_NE(text.find("causal & window(7, 0)"), std::string::npos) << text;
  EXPECT_NE(text.find("1 of 2 sequences by tiles"), std::string::npos) << text;
  EXPECT_NE(text.find("1 with at most 8 rows"), std::string::npos) << text;
  EXPECT_NE(text.find("only scaled"), std::string::npos) << text;
  problem.soft_cap = 30;
  EXPECT_NE(explain(problem, DType::f32).find("a pass of their own"), std::string::npos);
}

TEST(AttentionScores, RefusesWhatMakesNoSense) {
  const Example e = random_example(3, 20);
  Trial<float> run(e);
  Problem problem = run.problem();
  problem.soft_cap = -1;
  EXPECT_THROW(forward(problem, run.inputs(), run.outputs()), Error);
  problem = e.problem();
  problem.sinks = nullptr;
  float gradient = 0;
  EXPECT_THROW(backward(problem, run.inputs(), run.outputs(), run.d_out.rows(),
                        {.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows(), .sinks = &gradient}),
               Error);
}

}  // namespace
}  // namespace rapt::attention
