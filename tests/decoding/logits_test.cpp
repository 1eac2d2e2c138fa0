#include "decoding/logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/random.h"

namespace rapt::decoding {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int32_t sizes[] = {1, 2, 7, 63, 64, 65, 128, 1000, 10001, 50257};

/// Normal numbers; with `steps` > 0 rounded to so many steps a unit, which makes ties.
std::vector<float> random_logits(std::int32_t count, std::uint64_t seed, double steps = 0) {
  RandomSequence random(seed);
  std::vector<float> logits;
  for (std::int32_t i = 0; i < count; ++i) {
    const double z = 3 * random.normal();
    logits.push_back(static_cast<float>(steps > 0 ? std::round(z * steps) / steps : z));
  }
  return logits;
}

/// All tokens above -inf but the masked, sorted.
std::vector<std::int32_t> sorted_tokens(const std::vector<float>& logits, const std::vector<std::int32_t>& masked) {
  std::vector<std::int32_t> order;
  for (std::int32_t i = 0; i < std::ssize(logits); ++i) {
    if (logits[static_cast<std::size_t>(i)] > -infinity && !std::ranges::binary_search(masked, i)) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::ranges::greater(), [&](auto i) { return logits[static_cast<std::size_t>(i)]; });
  return order;
}

std::vector<std::int32_t> ids(const std::vector<ScoredToken>& tokens) {
  std::vector<std::int32_t> result;
  for (const ScoredToken& t : tokens) result.push_back(t.token);
  return result;
}

void expect_top(const std::vector<float>& logits, const std::vector<std::int32_t>& masked) {
  const LogitRow row(logits, masked);
  const std::vector<std::int32_t> sorted = sorted_tokens(logits, masked);
  for (const std::int64_t count : {1, 2, 8, 20, 300, 100000}) {
    const auto kept = std::min<std::int64_t>(count, std::ssize(sorted));
    EXPECT_EQ(ids(row.top(count)), std::vector(sorted.begin(), sorted.begin() + kept))
        << count << " of " << logits.size();
  }
}

TEST(LogitRow, TopIsASort) {
  for (const std::int32_t size : sizes) expect_top(random_logits(size, 1), {});
}

TEST(LogitRow, AmongEqualsTheLowerTokenGoesFirst) {
  for (const std::int32_t size : sizes) {
    expect_top(random_logits(size, 2, 1), {});
    expect_top(std::vector<float>(static_cast<std::size_t>(size), 1.5f), {});
  }
}

TEST(LogitRow, MaskedTokensAndMinusInfinityAreNeverChosen) {
  for (const std::int32_t size : {70, 1000, 50257}) {
    std::vector<float> logits = random_logits(size, 3, 4);
    for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = -infinity;
    std::vector<std::int32_t> masked = sorted_tokens(logits, {});
    masked.resize(5);
    masked.push_back(size - 1);
    std::ranges::sort(masked);
    expect_top(logits, masked);
  }
}

TEST(LogitRow, AtLeastIsTheHeadOfTheSort) {
  const std::vector<float> logits = random_logits(5000, 4, 4);
  const std::vector<std::int32_t> masked = {3, 77, 4999};
  const std::vector<std::int32_t> sorted = sorted_tokens(logits, masked);
  for (const float threshold : {-infinity, -2.0f, 0.0f, 5.25f, 100.0f}) {
    const auto end =
        std::ranges::find_if(sorted, [&](auto i) { return logits[static_cast<std::size_t>(i)] < threshold; });
    EXPECT_EQ(ids(LogitRow(logits, masked).at_least(threshold)), std::vector(sorted.begin(), end)) << threshold;
  }
}

TEST(LogitRow, LogSumExpIsCloseToFloat64AndCountsMaskedTokens) {
  for (const std::int32_t size : sizes) {
    for (const float offset : {0.0f, -5000.0f, 1e6f}) {
      std::vector<float> logits = random_logits(size, 5);
      for (float& x : logits) x += offset;
      const double largest = *std::ranges::max_element(logits);
      double sum = 0;
      for (const float x : logits) sum += std::exp(static_cast<double>(x) - largest);
      EXPECT_NEAR(LogitRow(logits, std::vector<std::int32_t>{0}).log_sum_exp(), largest + std::log(sum), 3e-7);
    }
  }
}

TEST(LogitRow, BlockSumsAreTheSumsOfTheirWeights) {
  const std::vector<float> logits = random_logits(1000, 6);
  const LogitRow row(logits);
  for (const double temperature : {0.3, 1.0, 7.0}) {
    const std::vector<float> sums = row.block_sums(temperature);
    std::size_t token = 0;
    for (std::size_t b = 0; b < sums.size(); ++b) {
      EXPECT_EQ(LogitRow::first_token(b), static_cast<std::int32_t>(token));
      const std::vector<float> weights = row.block_weights(b, temperature);
      EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), sums[b], 1e-6 * sums[b]);
      for (const float weight : weights) {
        const double exponent = (static_cast<double>(logits[token]) - row.largest()) / temperature;
        // The exponent is rounded to float32 twice before its exponential.
        EXPECT_NEAR(weight, std::exp(exponent), (3e-7 - 2e-7 * exponent) * std::exp(exponent));
        ++token;
      }
    }
    EXPECT_EQ(token, logits.size());
  }
}

TEST(LogitRow, NamesWhatIsWrong) {
  for (const std::size_t size : {1u, 64u, 100u, 1000u}) {
    std::vector<float> logits(size, 0.5f);
    EXPECT_EQ(LogitRow(logits).defect(), "");
    for (const std::size_t place : {std::size_t{0}, size / 2, size - 1}) {
      for (const auto& [value, defect] : {std::pair{std::nanf(""), "hold NaN"}, std::pair{infinity, "hold infinity"}}) {
        std::vector<float> broken = logits;
        broken[place] = value;
        EXPECT_EQ(LogitRow(broken).defect(), defect);
      }
    }
    EXPECT_EQ(LogitRow(std::vector<float>(size, -infinity)).defect(), "are all -infinity");
  }
}

}  // namespace
}  // namespace rapt::decoding
