#include "rapt/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "attention/reference.h"

namespace rapt::attention {
namespace {

/// Largest difference of log-sum-exps, relative where they are large.
template <typename S>
double log_sum_exp_error(const std::vector<S>& found, const std::vector<double>& expected) {
  std::vector<double> a, b;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;  // infinities too
    const double unit = std::max(1.0, std::abs(expected[i]));
    a.push_back(found[i] / unit);
    b.push_back(expected[i] / unit);
  }
  return distance(a, b);
}

struct Shape {
  std::string name;
  std::vector<std::pair<int, int>> lengths;
  int heads, kv_heads, d_key, d_value;
};

/// Lengths around the edges of vectors, blocks, chunks and tiles, and widths that fit none of them.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> result{
      {"nothing", {}, 1, 1, 4, 4},
      {"empty sequences", {{0, 0}, {3, 0}, {0, 3}, {2, 2}, {0, 0}}, 2, 1, 8, 8},
      {"one by one", {{1, 1}}, 1, 1, 1, 1},
      {"edges of vectors", {{1, 3}, {2, 4}, {7, 5}, {8, 8}, {9, 7}, {15, 17}, {16, 16}, {17, 15}}, 2, 2, 16, 16},
      {"translation", {{24, 24}, {5, 24}, {60, 41}, {13, 13}, {31, 33}}, 8, 8, 64, 64},
      {"narrow heads", {{24, 19}, {33, 9}}, 4, 4, 32, 32},
      {"edges of chunks", {{63, 63}, {64, 64}, {65, 65}, {129, 127}}, 2, 1, 48, 48},
      {"prime lengths", {{113, 203}, {203, 113}, {1, 203}, {113, 1}}, 2, 2, 17, 33},
      {"far from powers of two", {{1023, 203}}, 1, 1, 24, 40},
      {"edges of tiles", {{3, 511}, {4, 512}, {5, 513}, {2, 1030}}, 2, 2, 32, 24},
      {"several tiles both ways", {{600, 700}}, 1, 1, 20, 12},
      {"many keys for few queries", {{3, 2500}}, 1, 1, 64, 64},
      {"many queries for few keys", {{700, 2}}, 3, 1, 5, 7},
      {"grouped heads", {{19, 23}, {40, 40}, {1, 90}}, 9, 3, 64, 64},
      {"one key-value head", {{70, 70}}, 12, 1, 13, 80},
      {"widest heads", {{5, 9}, {20, 70}}, 2, 2, 1024, 1024},
      {"odd heads", {{21, 21}}, 3, 3, 127, 1},
      {"narrowest keys", {{21, 35}}, 2, 2, 1, 129},
  };
  return result;
}

Example example_of(const Shape& shape, bool causal, float dropout) {
  Example e{.sequences = end_to_end(shape.lengths),
            .heads = shape.heads,
            .kv_heads = shape.kv_heads,
            .d_key = shape.d_key,
            .d_value = shape.d_value,
            .scale = 1 / std::sqrt(static_cast<double>(shape.d_key)),
            .causal = causal,
            .dropout = {.probability = dropout, .key = {.low = 5, .high = 6}}};
  return e.fill(static_cast<std::uint64_t>(shape.d_key * 100 + shape.heads));
}

/// Calls check(example) for every shape, with and without causal visibility and dropout.
template <typename Check>
void for_each_example(Check check) {
  for (const Shape& shape : shapes()) {
    for (const bool causal : {false, true}) {
      for (const float dropout : {0.0f, 0.3f}) {
        SCOPED_TRACE(shape.name + (causal ? ", causal" : "") + (dropout > 0 ? ", dropout" : ""));
        check(example_of(shape, causal, dropout));
      }
    }
  }
}

/// Runs on every instruction set and compares all results with `expected`. Errors are relative to the largest value;
/// those of gradients to the largest gradient.
template <typename T>
void expect_near_reference(const Example& e, const Reference& expected, double forward_error, double backward_error) {
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<T> run(e, isa);
    run.forward().backward();
    EXPECT_LE(distance(run.out.values(), expected.out), forward_error * largest(e.v));
    EXPECT_LE(log_sum_exp_error(run.log_sum_exp, expected.log_sum_exp), forward_error);
    EXPECT_LE(distance(run.dq.values(), expected.dq), backward_error * std::max(1.0, largest(expected.dq)));
    EXPECT_LE(distance(run.dk.values(), expected.dk), backward_error * std::max(1.0, largest(expected.dk)));
    EXPECT_LE(distance(run.dv.values(), expected.dv), backward_error * std::max(1.0, largest(expected.dv)));
  }
}

TEST(Attention, Float64EqualsThePlainLoops) {
  for_each_example([](const Example& e) { expect_near_reference<double>(e, reference(e), 1e-13, 1e-12); });
}

TEST(Attention, Float32IsExactToItsLastPlaces) {
  for_each_example([](const Example& e) {
    const Example rounded = Trial<float>(e).rounded();
    expect_near_reference<float>(rounded, reference(rounded), 2e-6, 5e-6);
  });
}

/// Attention as separate operations in bf16 would compute it: scores, weights and results are each rounded.
std::vector<double> unfused_bf16(const Example& e) {
  std::vector<double> out(e.d_out.size());
  for (const Span& s : e.sequences) {
    for (std::int32_t query = 0; query < s.query_count; ++query) {
      for (int head = 0; head < e.heads; ++head) {
        const int kv_head = head / (e.heads / e.kv_heads);
        const std::int64_t row = std::int64_t{s.query_begin + query} * e.heads + head;
        std::vector<double> p(static_cast<std::size_t>(s.key_count));
        double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
        for (std::int32_t j = 0; j < s.key_count; ++j) {
          double score = 0;
          for (int i = 0; i < e.d_key; ++i) {
            score +=
                e.q[static_cast<std::size_t>(row * e.d_key + i)] *
                e.k[static_cast<std::size_t>((std::int64_t{s.key_begin + j} * e.kv_heads + kv_head) * e.d_key + i)];
          }
          double& rounded = p[static_cast<std::size_t>(j)];
          rounded = Storage<bf16>::number(Storage<bf16>::of(score * e.scale));
          maximum = std::max(maximum, rounded);
        }
        for (double& value : p) sum += value = std::exp(value - maximum);
        for (double& value : p) value = Storage<bf16>::number(Storage<bf16>::of(value / sum));
        for (int i = 0; i < e.d_value; ++i) {
          double total = 0;
          for (std::int32_t j = 0; j < s.key_count; ++j) {
            total +=
                p[static_cast<std::size_t>(j)] *
                e.v[static_cast<std::size_t>((std::int64_t{s.key_begin + j} * e.kv_heads + kv_head) * e.d_value + i)];
          }
          out[static_cast<std::size_t>(row * e.d_value + i)] = Storage<bf16>::number(Storage<bf16>::of(total));
        }
      }
    }
  }
  return out;
}

TEST(Attention, Bfloat16IsNoWorseThanAnUnfusedComputation) {
  for (const Shape& shape : shapes()) {
    if (shape.name == "nothing" || shape.name == "empty sequences") continue;  // no unfused softmax over no keys
    SCOPED_TRACE(shape.name);
    const Example rounded = Trial<bf16>(example_of(shape, false, 0)).rounded();
    const std::vector<double> exact = reference(rounded).out;
    const std::vector<double> unfused = unfused_bf16(rounded);
    for (const kernels::Isa isa : instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      Trial<bf16> run(rounded, isa);
      run.forward();
      EXPECT_LE(distance(run.out.values(), exact), distance(unfused, exact));
      EXPECT_LE(root_mean_square(run.out.values(), exact), root_mean_square(unfused, exact));
    }
  }
}

TEST(Attention, Bfloat16DiffersFromItsReferenceByItsRoundingOnly) {
  for_each_example([](const Example& e) {
    const Example rounded = Trial<bf16>(e).rounded();
    const Reference expected = reference(rounded);
    for (const kernels::Isa isa : instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      Trial<bf16> run(rounded, isa);
      run.forward().backward();
      EXPECT_LE(distance(run.out.values(), expected.out), 0x1p-8 * largest(expected.out));
      EXPECT_LE(log_sum_exp_error(run.log_sum_exp, expected.log_sum_exp), 2e-6);
      // Gradients also carry the rounding of the weights and of the output, through rowsum(dO O), which sums d_value of
      // them; dropout enlarges what it keeps.
      const double sum = std::sqrt(static_cast<double>(e.d_value)) / e.problem().dropout.kept();
      EXPECT_LE(distance(run.dq.values(), expected.dq), 0x1p-8 * sum * std::max(1.0, largest(expected.dq)));
      EXPECT_LE(distance(run.dk.values(), expected.dk), 0x1p-8 * sum * std::max(1.0, largest(expected.dk)));
      EXPECT_LE(distance(run.dv.values(), expected.dv), 0x1p-8 * sum * std::max(1.0, largest(expected.dv)));
    }
  });
}

/// Scores are small integers times an integer, so float32 computes them without rounding however large they are.
Example extreme_example(double magnitude) {
  Example e{.sequences = end_to_end({{19, 40}, {40, 530}}), .heads = 2, .kv_heads = 1, .d_key = 3, .d_value = 5};
  e.fill(3);
  for (double& x : e.q) x = std::round(x);
  for (double& x : e.k) x = std::round(x * magnitude / 4);
  return e;
}

TEST(Attention, ScoresOfTenThousandAreHarmless) {
  for (const bool causal : {false, true}) {
    Example e = extreme_example(1e4);
    e.causal = causal;
    e = Trial<float>(e).rounded();
    const Reference expected = reference(e);
    EXPECT_GT(largest(expected.log_sum_exp), 9e3);
    // float32 places of a log-sum-exp of 10^4 are 10^-3 apart, and gradients are rebuilt from it.
    expect_near_reference<float>(e, expected, 2e-6, 2e-2);
    expect_near_reference<double>(e, expected, 1e-13, 1e-7);
  }
}

TEST(Attention, EqualScoresGiveTheMean) {
  Example e{.sequences = end_to_end({{9, 600}}), .d_key = 7, .d_value = 20, .scale = 0.3};
  e.fill(4);
  std::fill(e.q.begin(), e.q.end(), 30.0);
  std::fill(e.k.begin(), e.k.end(), 5.0);
  e = Trial<float>(e).rounded();
  // Scores of 315 with the rounding of scale in float32 move every log-sum-exp alike.
  expect_near_reference<float>(e, reference(e), 2e-6, 1e-4);
}

TEST(Attention, AWinnerTakesAll) {
  Example e{.sequences = end_to_end({{40, 40}}), .d_key = 40, .d_value = 8, .scale = 200};
  e.fill(5);
  std::fill(e.q.begin(), e.q.end(), 0.0);
  std::fill(e.k.begin(), e.k.end(), 0.0);
  for (std::size_t i = 0; i < 40; ++i) e.q[i * 40 + i] = e.k[i * 40 + i] = 1;
  Trial<float> run(e);
  run.forward().backward();
  EXPECT_TRUE(same_bits(run.out.data, run.v.data) || distance(run.out.values(), run.v.values()) == 0);
  // dO V and rowsum(dO O) are equal up to their rounding, which the scale multiplies.
  EXPECT_LT(largest(run.dq.values()) + largest(run.dk.values()), 2e-5 * e.scale);
  EXPECT_EQ(distance(run.dv.values(), run.d_out.values()), 0);
}

TEST(Attention, AQueryThatSeesNothingGivesZerosAndNoNaN) {
  const Example e = example_of({"", {{5, 2}, {3, 0}}, 2, 2, 6, 4}, true, 0);
  Trial<float> run(e);
  run.forward().backward();
  const std::vector<double> out = run.out.values(), dq = run.dq.values();
  for (const std::int64_t token : {0, 1, 2, 5, 6, 7}) {
    for (std::int64_t i = 0; i < 2 * 4; ++i) EXPECT_EQ(out[static_cast<std::size_t>(token * 2 * 4 + i)], 0);
    for (std::int64_t i = 0; i < 2 * 6; ++i) EXPECT_EQ(dq[static_cast<std::size_t>(token * 2 * 6 + i)], 0);
    for (std::int64_t h = 0; h < 2; ++h) {
      EXPECT_EQ(run.log_sum_exp[static_cast<std::size_t>(token * 2 + h)], -std::numeric_limits<float>::infinity());
    }
  }
}

TEST(Attention, ScoresOfMinusInfinityAreNoNaN) {
  Example e{.sequences = end_to_end({{3, 20}}), .d_key = 2, .d_value = 3};
  e.fill(6);
  std::fill(e.q.begin(), e.q.end(), 1.0);
  std::fill(e.k.begin(), e.k.end(), -std::numeric_limits<double>::infinity());
  Trial<float> run(e);
  run.forward();
  EXPECT_EQ(largest(run.out.values()), 0);
  EXPECT_EQ(run.log_sum_exp[0], -std::numeric_limits<float>::infinity());
  for (const float weight : run.weights(0, 0)) EXPECT_EQ(weight, 0);
}

TEST(Attention, WritesOnlyTheRowsOfTheSequences) {
  Example e{.sequences = {{2, 3, 4, 5}, {8, 1, 12, 2}}, .heads = 2, .kv_heads = 1, .d_key = 5, .d_value = 6};
  e.fill(7);
  Trial<float> run(e);
  run.forward().backward();
  for (const Storage<float>* x : {&run.out, &run.dq}) {
    for (std::int32_t token = 0; token < 9; ++token) {
      const bool named = (token >= 2 && token < 5) || token == 8;
      EXPECT_EQ(x->is_untouched(token, 0, x->width), !named);
      EXPECT_TRUE(x->is_untouched(token, x->width, x->width + x->gap));
    }
  }
  for (const Storage<float>* x : {&run.dk, &run.dv}) {
    for (std::int32_t token = 0; token < 14; ++token) {
      const bool named = (token >= 4 && token < 9) || token >= 12;
      EXPECT_EQ(x->is_untouched(token, 0, x->width), !named);
      EXPECT_TRUE(x->is_untouched(token, x->width, x->width + x->gap));
    }
  }
}

TEST(Attention, LogSumExpMayBeLeftOut) {
  const Example e = example_of({"", {{7, 9}}, 2, 1, 6, 4}, false, 0);
  Trial<float> run(e);
  run.forward();
  Storage<float> out(7, 8, untouched);
  forward(e.problem(), run.inputs(), {.out = out.rows()});
  EXPECT_TRUE(same_bits(out.data, run.out.data));
}

// Gradients against finite differences, in float64.

/// sum(out d_out), whose gradients the backward pass computes.
double loss(const Example& e) {
  Trial<double> run(e, kernels::isa(), 1);
  const std::vector<double> out = run.forward().out.values();
  return std::inner_product(out.begin(), out.end(), e.d_out.begin(), 0.0);
}

void expect_gradient(const Example& e, std::vector<double> Example::*input, const std::vector<double>& gradient) {
  EXPECT_LE(distance(central_differences(e, input, loss), gradient), 1e-6 * largest(gradient));
}

TEST(Attention, GradientsAreThoseOfFiniteDifferences) {
  for (const bool causal : {false, true}) {
    for (const float dropout : {0.0f, 0.4f}) {
      SCOPED_TRACE(std::string(causal ? "causal" : "full") + (dropout > 0 ? ", dropout" : ""));
      const Example e = example_of({"", {{7, 7}, {1, 3}, {5, 2}, {3, 9}, {0, 2}}, 4, 2, 3, 5}, causal, dropout);
      Trial<double> run(e);
      run.forward().backward();
      expect_gradient(e, &Example::q, run.dq.values());
      expect_gradient(e, &Example::k, run.dk.values());
      expect_gradient(e, &Example::v, run.dv.values());
    }
  }
}

// The same bits, however the work is split.

/// Sequences of a training batch, of a decoding step and a long one.
Example mixed_example(bool causal, float dropout) {
  std::vector<std::pair<int, int>> lengths{{300, 700}, {0, 5}, {5, 0}};
  for (int i = 0; i < 40; ++i) lengths.emplace_back(1 + i * 7 % 60, 1 + i * 11 % 60);
  for (int i = 0; i < 10; ++i) lengths.emplace_back(1, 40 + i);
  return example_of({"", lengths, 6, 2, 24, 40}, causal, dropout);
}

template <typename T>
void expect_same_bits_for_threads(const Example& e) {
  Trial<T> expected(e, kernels::isa(), 1);
  expected.forward().backward();
  for (int threads = 2; threads <= 4; ++threads) {
    Trial<T> run(e, kernels::isa(), threads);
    run.forward().backward();
    EXPECT_TRUE(same_bits(run.out.data, expected.out.data));
    EXPECT_TRUE(same_bits(run.log_sum_exp, expected.log_sum_exp));
    EXPECT_TRUE(same_bits(run.dq.data, expected.dq.data));
    EXPECT_TRUE(same_bits(run.dk.data, expected.dk.data));
    EXPECT_TRUE(same_bits(run.dv.data, expected.dv.data));
    EXPECT_TRUE(same_bits(run.weights(0, 5), expected.weights(0, 5)));
  }
}

TEST(Attention, ThreadsDoNotChangeABit) {
  for (const bool causal : {false, true}) {
    const Example e = mixed_example(causal, 0.1f);
    expect_same_bits_for_threads<float>(e);
    expect_same_bits_for_threads<bf16>(e);
    expect_same_bits_for_threads<double>(e);
  }
}

template <typename T>
void expect_alone_as_in_batch(const Example& e) {
  Trial<T> batch(e);
  batch.forward().backward();
  for (const Span& s : e.sequences) {
    Example single = e;
    single.sequences = {s};
    // Storage is cut off after the last row named: the rows of this sequence stay where they were.
    single.q.resize(static_cast<std::size_t>(single.query_tokens() * e.heads * e.d_key));
    single.k.resize(static_cast<std::size_t>(single.key_tokens() * e.kv_heads * e.d_key));
    single.v.resize(static_cast<std::size_t>(single.key_tokens() * e.kv_heads * e.d_value));
    single.d_out.resize(static_cast<std::size_t>(single.query_tokens() * e.heads * e.d_value));
    Trial<T> alone(single);
    alone.forward().backward();
    const auto queries = [&](const Storage<T>& x) { return x.part(s.query_begin, s.query_count); };
    const auto keys = [&](const Storage<T>& x) { return x.part(s.key_begin, s.key_count); };
    EXPECT_TRUE(same_bits(queries(alone.out), queries(batch.out)));
    EXPECT_TRUE(same_bits(queries(alone.dq), queries(batch.dq)));
    EXPECT_TRUE(same_bits(keys(alone.dk), keys(batch.dk)));
    EXPECT_TRUE(same_bits(keys(alone.dv), keys(batch.dv)));
  }
}

TEST(Attention, ASequenceAloneGivesTheBitsItGivesInABatch) {
  for (const bool causal : {false, true}) {
    const Example e = mixed_example(causal, 0.1f);
    expect_alone_as_in_batch<float>(e);
    expect_alone_as_in_batch<bf16>(e);
    expect_alone_as_in_batch<double>(e);
  }
}

TEST(Attention, PlaceInTheBatchDoesNotMatter) {
  const Example first = example_of({"", {{30, 90}}, 4, 2, 20, 20}, true, 0);
  Example moved = example_of({"", {{11, 17}, {30, 90}}, 4, 2, 20, 20}, true, 0);
  const auto put_last = [](const std::vector<double>& part, std::vector<double>& whole) {
    std::copy_backward(part.begin(), part.end(), whole.end());
  };
  put_last(first.q, moved.q);
  put_last(first.k, moved.k);
  put_last(first.v, moved.v);
  Trial<float> a(first);
  Trial<float> b(moved);
  a.forward();
  b.forward();
  EXPECT_TRUE(same_bits(a.out.part(0, 30), b.out.part(11, 30)));
}

// Decoding.

template <typename T>
void expect_cached_as_full(int heads, int kv_heads, double error) {
  constexpr int length = 1100, capacity = 1200, d = 32;
  Example full{.sequences = {{0, length, 0, length}},
               .heads = heads,
               .kv_heads = kv_heads,
               .d_key = d,
               .d_value = d,
               .scale = 0.2,
               .causal = true};
  full.fill(8);
  Trial<T> expected(full);
  expected.forward();

  Example step = full;
  const auto grow = [&](std::vector<double>& x) {
    x.resize(static_cast<std::size_t>(capacity * kv_heads * d), std::numeric_limits<double>::quiet_NaN());
  };
  grow(step.k);
  grow(step.v);
  // One token at a time, and several at once, behind caches of all kinds of lengths.
  for (const auto& [first, count] : {std::pair{0, 1},
                                     {1, 1},
                                     {15, 1},
                                     {16, 3},
                                     {63, 1},
                                     {64, 1},
                                     {100, 20},
                                     {511, 1},
                                     {512, 1},
                                     {700, 130},
                                     {1099, 1}}) {
    SCOPED_TRACE(std::to_string(first) + "+" + std::to_string(count));
    step.sequences = {{first, count, 0, first + count}};
    // What lies behind the last token of the cache is never looked at.
    Example poisoned = step;
    std::fill(poisoned.k.begin() + (first + count) * kv_heads * d, poisoned.k.end(), std::nan(""));
    std::fill(poisoned.v.begin() + (first + count) * kv_heads * d, poisoned.v.end(), std::nan(""));
    Trial<T> run(poisoned);
    run.forward();
    const auto rows = [&](const Storage<T>& x) {
      const std::vector<double> all = x.values();
      return std::vector<double>(all.begin() + first * x.width, all.begin() + (first + count) * x.width);
    };
    EXPECT_LE(distance(rows(run.out), rows(expected.out)), error * largest(full.v));
  }
}

TEST(Attention, CachedDecodingAgreesWithTheFullPass) {
  expect_cached_as_full<float>(4, 4, 2e-6);
  expect_cached_as_full<float>(6, 2, 2e-6);
  expect_cached_as_full<bf16>(6, 2, 0x1p-8);
  expect_cached_as_full<double>(2, 1, 1e-13);
}

TEST(Attention, SequencesMayShareKeys) {
  Example shared{.sequences = {{0, 1, 10, 70}, {1, 1, 10, 70}, {2, 1, 10, 70}, {3, 2, 0, 75}},
                 .heads = 4,
                 .kv_heads = 2,
                 .d_key = 16,
                 .d_value = 16};
  shared.fill(9);
  Trial<float> run(shared);
  run.forward();
  EXPECT_LE(distance(run.out.values(), reference(run.rounded()).out), 2e-6 * largest(shared.v));
}

// What is promised of long sequences.

TEST(Attention, SixtyFourThousandKeysAreAsExact) {
  for (const int queries : {1, 9}) {  // by rows, and by tiles
    Example e{.sequences = {{0, queries, 0, 65536}}, .d_key = 32, .d_value = 16, .scale = 0.25};
    e.fill(12);
    // A long tail: most of the weight is spread thin.
    for (std::size_t i = 0; i < e.q.size(); ++i) e.q[i] *= i % 2 == 0 ? 1 : 0.1;
    Trial<float> run(e);
    const Example rounded = run.rounded();
    const Reference expected = reference(rounded);
    run.forward();
    EXPECT_LE(distance(run.out.values(), expected.out), 2e-6 * largest(e.v));
    EXPECT_LE(log_sum_exp_error(run.log_sum_exp, expected.log_sum_exp), 2e-6);
  }
}

TEST(Attention, TwoHundredRunsGiveTheSameBits) {
  Example e = example_of({"", {{70, 300}, {1, 1100}, {33, 33}}, 4, 2, 20, 12}, true, 0);
  Trial<bf16> expected(e, kernels::isa(), 1);
  expected.forward().backward();
  for (int i = 0; i < 200; ++i) {
    Trial<bf16> run(e, kernels::isa(), 1 + i % 5);
    run.forward().backward();
    ASSERT_TRUE(same_bits(run.out.data, expected.out.data));
    ASSERT_TRUE(same_bits(run.log_sum_exp, expected.log_sum_exp));
    ASSERT_TRUE(same_bits(run.dq.data, expected.dq.data));
    ASSERT_TRUE(same_bits(run.dk.data, expected.dk.data));
    ASSERT_TRUE(same_bits(run.dv.data, expected.dv.data));
  }
}

// Dropout.

TEST(Attention, DropoutKeepsItsShareAndTheMean) {
  // Equal weights over values of one: the output is the share kept over its expectation.
  constexpr int queries = 300, keys = 1000;
  for (const float probability : {0.1f, 0.5f, 0.9f}) {
    Example e{.sequences = end_to_end({{queries, keys}}), .heads = 2, .d_key = 1, .d_value = 1};
    e.kv_heads = 2;
    e.dropout = {.probability = probability, .key = {1, 2}};
    e.fill(10);
    std::fill(e.q.begin(), e.q.end(), 0.0);
    std::fill(e.v.begin(), e.v.end(), 1.0);
    Trial<float> run(e);
    run.forward();
    const std::vector<double> out = run.out.values();
    double mean = 0;
    for (const double value : out) mean += value / static_cast<double>(out.size());
    const double deviation = std::sqrt(double{probability} / (1 - double{probability}) / (2.0 * queries * keys));
    EXPECT_NEAR(mean, 1, 5 * deviation);
    // The sums of weights are those without dropout.
    for (const float value : run.log_sum_exp) EXPECT_NEAR(value, std::log(keys), 1e-5);
  }
}

TEST(Attention, DropoutThatLeavesNothingGivesZeros) {
  const Example e = example_of({"", {{7, 9}}, 2, 1, 6, 4}, false, 0.999999f);
  Trial<float> run(e);
  run.forward().backward();
  for (const Storage<float>* x : {&run.out, &run.dq, &run.dk, &run.dv}) EXPECT_EQ(largest(x->values()), 0);
}

// The weights.

/// The weights of all queries of a sequence and one head, [queries, keys], by plain loops.
std::vector<double> weights_of_sequence(const Example& e, const Span& s, int head) {
  std::vector<double> result;
  for (std::int32_t query = 0; query < s.query_count; ++query) {
    double unused;
    const std::vector<double> row = reference_weights(e, s, query, head, &unused);
    result.insert(result.end(), row.begin(), row.end());
  }
  return result;
}

template <typename T>
void expect_weights_of_reference(double error) {
  for_each_example([&](const Example& e) {
    const Example rounded = Trial<T>(e).rounded();
    std::vector<std::vector<double>> references;
    for (std::size_t sequence = 0; sequence < e.sequences.size(); ++sequence) {
      const int head = static_cast<int>(sequence) % e.heads;
      references.push_back(weights_of_sequence(rounded, rounded.sequences[sequence], head));
    }
    for (const kernels::Isa isa : instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      Trial<T> run(rounded, isa);
      run.forward();
      for (std::size_t sequence = 0; sequence < e.sequences.size(); ++sequence) {
        const Span& s = e.sequences[sequence];
        const int head = static_cast<int>(sequence) % e.heads;
        const std::vector<float> found = run.weights(static_cast<int>(sequence), head);
        const auto keys = static_cast<std::size_t>(s.key_count);
        for (std::int32_t query = 0; query < s.query_count; ++query) {
          const auto reference_row = references[sequence].begin() + query * s.key_count;
          const std::vector<double> expected(reference_row, reference_row + s.key_count);
          const auto row = found.begin() + query * s.key_count;
          const std::vector<double> values(row, row + s.key_count);
          ASSERT_LE(distance(values, expected), error);
          double sum = 0;
          bool zeros = true;
          for (std::size_t j = 0; j < keys; ++j) {
            sum += values[j];
            if (expected[j] == 0) zeros = zeros && values[j] == 0;
          }
          const bool sees = !e.causal || s.key_count - s.query_count + query >= 0;
          ASSERT_NEAR(sum, sees && keys > 0 ? 1 : 0, 2e-6);
          ASSERT_TRUE(zeros);
        }
      }
    }
  });
}

TEST(Attention, WeightsAreThoseOfThePlainLoops) {
  expect_weights_of_reference<float>(2e-6);
  expect_weights_of_reference<bf16>(2e-6);
  expect_weights_of_reference<double>(1e-7);
}

/// With one key dimension, a query of one and a log-sum-exp of zero, weights are the exponentials of the keys.
TEST(Attention, TheExponentialIsAsExactAsItsArgument) {
  Example e{.sequences = {{0, 1, 0, 200000}}, .d_key = 1, .d_value = 1};
  e.fill(11);
  e.q[0] = 1;
  for (std::size_t i = 0; i < e.k.size(); ++i) e.k[i] = -100.0 + 188.5 * static_cast<double>(i) / 200000;
  for (const kernels::Isa isa : instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    Trial<float> run(e, isa);
    run.log_sum_exp[0] = 0;
    const std::vector<float> found = run.weights(0, 0);
    const std::vector<double> x = run.k.values();
    std::vector<double> errors;
    for (std::size_t i = 0; i < x.size(); ++i) {
      // Below the smallest normal number the result is 0.
      if (x[i] < -87.336) {
        EXPECT_LE(found[i], 0x1p-126);
      } else {
        // The argument to base 2 is rounded to float32.
        const double bound = 2e-7 + 1.3e-7 * std::abs(x[i]);
        errors.push_back((found[i] / std::exp(x[i]) - 1) / bound);
      }
    }
    EXPECT_LT(largest(errors), 1);
  }
}

// Errors.

TEST(Attention, RefusesWhatMakesNoSense) {
  const Example e = example_of({"", {{3, 4}, {2, 2}}, 4, 2, 6, 8}, false, 0);
  const auto forward_message = [&](auto change_problem, auto change_rows) {
    Trial<float> run(e);
    Problem problem = e.problem();
    change_problem(problem);
    Rows q = run.q.rows(), k = run.k.rows();
    change_rows(q, k);
    return error_of([&] { forward(problem, {q, k, run.v.rows()}, {.out = run.out.rows()}); });
  };
  const auto same_problem = [](Problem&) {};
  const auto same_rows = [](Rows&, Rows&) {};
  EXPECT_EQ(forward_message(same_problem, same_rows), "no error");
  EXPECT_EQ(forward_message([](Problem& p) { p.kv_heads = 3; }, same_rows),
            "attention: 4 query heads cannot share 3 key-value heads evenly");
  EXPECT_EQ(forward_message([](Problem& p) { p.d_key = 0; }, same_rows),
            "attention: head widths d_key 0 and d_value 8 must lie in 1..1024");
  EXPECT_EQ(forward_message([](Problem& p) { p.dropout.probability = 1; }, same_rows),
            "attention: dropout probability 1 must lie in [0, 1)");
  EXPECT_EQ(forward_message(same_problem, [](Rows& q, Rows&) { q.dtype = DType::i32; }),
            "attention: operands must be f32, bf16 or f64, not i32");
  EXPECT_EQ(forward_message(same_problem, [](Rows&, Rows& k) { k.dtype = DType::bf16; }),
            "attention: k is bf16, q is f32; all operands must have one type");
  EXPECT_EQ(forward_message(same_problem, [](Rows& q, Rows&) { q.stride = 23; }),
            "attention: the stride 23 of q is less than 4 heads of 6");
  const std::vector<Span> negative{{0, 1, 0, -1}};
  EXPECT_EQ(forward_message([&](Problem& p) { p.sequences = negative; }, same_rows),
            "attention: sequence 0 has a negative bound (queries 0+1, keys 0+-1)");
}

TEST(Attention, RefusesGradientsThatWouldBeWrittenTwice) {
  Example e = example_of({"", {{3, 4}, {2, 4}}, 1, 1, 6, 8}, false, 0);
  e.sequences[1].key_begin = 3;
  Trial<float> run(e);
  run.forward();
  EXPECT_EQ(error_of([&] { run.backward(); }),
            "attention: two sequences share key row 3, whose gradient would be written twice");
  e.sequences[1].key_begin = 4;
  EXPECT_EQ(error_of([&] {
              backward(e.problem(), run.inputs(), {.out = run.out.rows()}, run.d_out.rows(),
                       {.q = run.dq.rows(), .k = run.dk.rows(), .v = run.dv.rows()});
            }),
            "attention: the backward pass needs the log_sum_exp of the forward pass");
}

TEST(Attention, RefusesWeightsThatDoNotFit) {
  const Example e = example_of({"", {{3, 4}}, 2, 1, 6, 8}, false, 0);
  Trial<float> run(e);
  run.forward();
  std::vector<float> place(11);
  const auto message = [&](const void* log_sum_exp, int sequence, int head) {
    return error_of([&] { weights(e.problem(), run.inputs(), log_sum_exp, sequence, head, place); });
  };
  EXPECT_EQ(message(run.log_sum_exp.data(), 0, 0),
            "attention: 11 places cannot take the weights of 3 queries and 4 keys");
  EXPECT_EQ(message(run.log_sum_exp.data(), 1, 0), "attention: there is no sequence 1 among 1");
  EXPECT_EQ(message(run.log_sum_exp.data(), 0, 2), "attention: there is no head 2 among 2");
  EXPECT_EQ(message(nullptr, 0, 0), "attention: the weights need the log_sum_exp of the forward pass");
}

}  // namespace
}  // namespace rapt::attention
