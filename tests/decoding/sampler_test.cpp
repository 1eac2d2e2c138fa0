#include "decoding/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace rapt::decoding {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
using Tokens = std::vector<std::int32_t>;

std::vector<float> random_logits(std::int32_t count, std::uint64_t seed) {
  RandomSequence random(seed);
  std::vector<float> logits;
  for (std::int32_t i = 0; i < count; ++i) logits.push_back(static_cast<float>(2 * random.normal()));
  return logits;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  const double largest = *std::ranges::max_element(logits);
  std::vector<double> result;
  for (const float x : logits) result.push_back(std::exp((static_cast<double>(x) - largest) / temperature));
  const double sum = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& p : result) p /= sum;
  return result;
}

/// Token ids, likeliest first.
Tokens order_of(const std::vector<double>& probabilities) {
  Tokens order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](auto i) { return probabilities[static_cast<std::size_t>(i)]; });
  return order;
}

Tokens support(const std::vector<float>& logits, const SamplingOptions& options, const Tokens& text = {}) {
  Sampler sampler(options, static_cast<std::int32_t>(logits.size()));
  Tokens tokens;
  for (const ScoredToken& t : sampler.support(logits, text)) tokens.push_back(t.token);
  return tokens;
}

/// How often each token is drawn.
std::vector<int> frequencies(const std::vector<float>& logits, const SamplingOptions& options, int draws) {
  Sampler sampler(options, static_cast<std::int32_t>(logits.size()));
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts[static_cast<std::size_t>(sampler(logits, {}))];
  return counts;
}

/// Pearson's statistic against `expected`, in standard deviations above its mean (Wilson and Hilferty, 1931).
double chi_square_deviation(const std::vector<int>& counts, const std::vector<double>& expected, int draws) {
  double statistic = 0;
  double freedom = -1;
  double rare = 0;  // cells expected less than five times are counted as one
  double rare_count = 0;
  const auto add = [&](double count, double mean) {
    statistic += (count - mean) * (count - mean) / mean;
    freedom += 1;
  };
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double mean = expected[i] * draws;
    if (mean >= 5) {
      add(counts[i], mean);
    } else {
      rare += mean;
      rare_count += counts[i];
    }
  }
  if (rare > 0) add(rare_count, rare);
  const double spread = 2 / (9 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
}

TEST(Sampler, FrequenciesAreThoseOfTheSoftmax) {
  constexpr int draws = 100000;
  for (const std::int32_t vocab : {2, 10, 64, 300}) {
    for (const double temperature : {0.5, 1.0, 3.0}) {
      const std::vector<float> logits = random_logits(vocab, 7);
      const auto counts = frequencies(logits, {.temperature = temperature, .seed = 5}, draws);
      EXPECT_LT(chi_square_deviation(counts, softmax(logits, temperature), draws), 4) << vocab << " " << temperature;
    }
  }
}

TEST(Sampler, FrequenciesWithinASupportAreThoseOfTheSoftmaxOverIt) {
  constexpr int draws = 100000;
  const std::vector<float> logits = random_logits(200, 8);
  for (const SamplingOptions& options :
       {SamplingOptions{.top_k = 12}, SamplingOptions{.top_p = 0.8}, SamplingOptions{.min_p = 0.1}}) {
    const std::vector<int> all = frequencies(logits, options, draws);
    std::vector<float> kept;
    std::vector<int> counts;
    for (const std::int32_t token : support(logits, options)) {
      kept.push_back(logits[static_cast<std::size_t>(token)]);
      counts.push_back(all[static_cast<std::size_t>(token)]);
    }
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), draws) << "tokens outside the support were drawn";
    EXPECT_LT(chi_square_deviation(counts, softmax(kept, 1), draws), 4);
  }
}

TEST(Sampler, TopKKeepsTheKLikeliest) {
  const std::vector<float> logits = random_logits(1000, 9);
  const Tokens order = order_of(softmax(logits, 1));
  for (const std::int32_t k : {1, 2, 40, 999, 1000, 5000}) {
    EXPECT_EQ(support(logits, {.top_k = k}), Tokens(order.begin(), order.begin() + std::min(k, 1000)));
  }
  EXPECT_EQ(support({1, 3, 3, 3, 0}, {.top_k = 2}), (Tokens{1, 2}));
}

TEST(Sampler, TopPKeepsTheFewestTokensWithThatMass) {
  for (const double temperature : {0.2, 1.0, 50.0}) {
    const std::vector<float> logits = random_logits(3000, 10);
    const std::vector<double> probabilities = softmax(logits, temperature);
    const Tokens order = order_of(probabilities);
    for (const double top_p : {1e-9, 0.1, 0.5, 0.9, 0.99, 0.9999}) {
      double sum = 0;
      std::size_t kept = 0;
      while (sum < top_p) sum += probabilities[static_cast<std::size_t>(order[kept++])];
      EXPECT_EQ(support(logits, {.temperature = temperature, .top_p = top_p}),
                Tokens(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept)));
    }
  }
}

TEST(Sampler, MinPKeepsTokensThatAreLikelyEnough) {
  for (const double temperature : {0.5, 1.0, 4.0}) {
    const std::vector<float> logits = random_logits(3000, 11);
    const std::vector<double> probabilities = softmax(logits, temperature);
    const Tokens order = order_of(probabilities);
    for (const double min_p : {1e-12, 0.01, 0.3, 1.0}) {
      Tokens expected;
      for (const std::int32_t t : order) {
        if (probabilities[static_cast<std::size_t>(t)] >= min_p * probabilities[static_cast<std::size_t>(order[0])]) {
          expected.push_back(t);
        }
      }
      EXPECT_EQ(support(logits, {.temperature = temperature, .min_p = min_p}), expected);
    }
  }
  // The bound itself belongs to the support.
  EXPECT_EQ(support({0, static_cast<float>(std::log(0.5)) + 1e-6f, -5}, {.min_p = 0.5}), (Tokens{0, 1}));
}

TEST(Sampler, TopPCountsWithinTopKAndMinPComesLast) {
  // Probabilities 0.4, 0.3, 0.2, 0.1.
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  EXPECT_EQ(support(logits, {.top_p = 0.71}), (Tokens{0, 1, 2}));
  EXPECT_EQ(support(logits, {.top_k = 2, .top_p = 0.71}), (Tokens{0, 1}));
  EXPECT_EQ(support(logits, {.top_k = 2, .top_p = 0.5}), (Tokens{0}));
  EXPECT_EQ(support(logits, {.top_p = 0.95, .min_p = 0.6}), (Tokens{0, 1}));
}

TEST(Sampler, TheRepetitionPenaltyLowersWhatTheTextAlreadyHas) {
  // 2, 1, -1 and -2 for penalty 2 become 1, 1, -2 and -2.
  EXPECT_EQ(support({2, 1, -1, -2}, {.repetition_penalty = 2}, {0, 0, 2}), (Tokens{0, 1, 2, 3}));
  const std::vector<float> penalised = {1, 1, -2, -2};
  const auto expected = softmax(penalised, 1);
  Sampler sampler({.repetition_penalty = 2}, 4);
  std::vector<int> counts(4);
  for (int i = 0; i < 50000; ++i)
    ++counts[static_cast<std::size_t>(sampler(std::vector<float>{2, 1, -1, -2}, Tokens{0, 0, 2}))];
  EXPECT_LT(chi_square_deviation(counts, expected, 50000), 4);
}

TEST(Sampler, TemperatureZeroTakesTheLikeliestAndTheLowerIdAmongEquals) {
  Sampler sampler({.temperature = 0}, 5);
  EXPECT_EQ(sampler(std::vector<float>{0, 7, 3, 7, 1}, {}), 1);
  EXPECT_EQ(support({0, 7, 3, 7, 1}, {.temperature = 0}), Tokens{1});
}

TEST(Sampler, ForbiddenTokensAreNeverDrawn) {
  for (const double temperature : {0.0, 1.0, 1e6}) {
    Sampler sampler({.forbidden = {1, 3}, .temperature = temperature}, 5);
    for (int i = 0; i < 200; ++i) {
      const std::int32_t token = sampler(std::vector<float>{0, 70, 3, 70, 1}, {});
      EXPECT_TRUE(token == 0 || token == 2 || token == 4);
    }
  }
}

TEST(Sampler, ExtremeTemperaturesAreSafe) {
  const std::vector<float> logits = {-1e30f, 5, 1, -infinity, 4.9f, 1e4f};
  const double tiny = std::numeric_limits<double>::denorm_min();
  const double huge = std::numeric_limits<double>::max();
  for (const SamplingOptions& base : {SamplingOptions{}, SamplingOptions{.top_k = 6}, SamplingOptions{.top_p = 0.999},
                                      SamplingOptions{.min_p = 1e-6}}) {
    for (const double temperature : {tiny, 1e-6}) {
      SamplingOptions options = base;
      options.temperature = temperature;
      EXPECT_EQ(frequencies(logits, options, 100)[5], 100);
    }
    SamplingOptions options = base;
    options.temperature = huge;
    const std::vector<int> counts = frequencies(logits, options, 5000);
    EXPECT_EQ(counts[3], 0);
    for (const std::size_t token : {0u, 1u, 2u, 4u, 5u}) EXPECT_GT(counts[token], 800);
  }
  EXPECT_GT(frequencies({-3, 5, 1}, {.temperature = 1e6}, 3000)[0], 900);
}

TEST(Sampler, ALonelyTokenIsAlwaysDrawn) {
  for (const std::size_t vocab : {1u, 5u, 64u, 1000u}) {
    std::vector<float> logits(vocab, -infinity);
    logits[vocab - 1] = -123;
    for (const SamplingOptions& options :
         {SamplingOptions{}, SamplingOptions{.temperature = 0}, SamplingOptions{.temperature = 1e-6},
          SamplingOptions{.temperature = 1e6}, SamplingOptions{.top_k = 3}, SamplingOptions{.top_p = 0.5},
          SamplingOptions{.min_p = 0.5}, SamplingOptions{.repetition_penalty = 1.5}}) {
      EXPECT_EQ(frequencies(logits, options, 20)[vocab - 1], 20);
    }
  }
}

TEST(Sampler, DrawsDependOnSeedAndStreamAlone) {
  const std::vector<float> logits = random_logits(500, 12);
  const auto draw = [&](std::uint64_t seed, std::uint64_t stream) {
    Sampler sampler({.seed = seed}, 500, stream);
    Tokens tokens;
    for (int i = 0; i < 20; ++i) tokens.push_back(sampler(logits, tokens));
    return tokens;
  };
  EXPECT_EQ(draw(1, 0), draw(1, 0));
  EXPECT_NE(draw(1, 0), draw(2, 0));
  EXPECT_NE(draw(1, 0), draw(1, 1));
}

TEST(Sampler, LogitsThatAreNoNumbersAreAnErrorThatNamesTheStep) {
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature}, 3);
    sampler(std::vector<float>{1, 2, 3}, {});
    for (const auto& [bad, said] : {std::pair{std::nanf(""), "step 2: the model's logits hold NaN"},
                                    std::pair{infinity, "step 2: the model's logits hold infinity"}}) {
      try {
        sampler(std::vector<float>{1, bad, 3}, {});
        FAIL() << "drew from " << bad;
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find(said), 0u) << error.what();
      }
    }
  }
  Sampler forbidden({.forbidden = {0, 1}}, 2);
  EXPECT_THROW(forbidden(std::vector<float>{1, 2}, {}), Error);
  EXPECT_THROW(forbidden(std::vector<float>{1, 2, 3}, {}), Error) << "a vocabulary of another size";
}

TEST(Sampler, OptionsThatMakeNoSenseAreErrorsThatNameThem) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const std::pair<const char*, SamplingOptions> cases[] = {
      {"temperature:", {.temperature = -1}},
      {"temperature:", {.temperature = nan}},
      {"temperature:", {.temperature = inf}},
      {"top_k:", {.top_k = -1}},
      {"top_p:", {.top_p = nan}},
      {"top_p:", {.top_p = 0}},
      {"top_p:", {.top_p = 1.0001}},
      {"top_p:", {.top_p = -0.5}},
      {"min_p:", {.min_p = nan}},
      {"min_p:", {.min_p = 1.5}},
      {"min_p:", {.min_p = -0.1}},
      {"repetition_penalty:", {.repetition_penalty = 0}},
      {"repetition_penalty:", {.repetition_penalty = nan}},
      {"forbidden:", {.forbidden = {10}}},
      {"forbidden:", {.forbidden = {-1}}},
  };
  for (const auto& [option, options] : cases) {
    try {
      Sampler sampler(options, 10);
      FAIL() << option;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find(option), 0u) << error.what();
    }
  }
}

}  // namespace
}  // namespace rapt::decoding
