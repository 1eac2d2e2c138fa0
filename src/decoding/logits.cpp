#include "decoding/logits.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "decoding/logits_block.h"
#include "kernels/dispatch.h"

namespace rapt::decoding {

RAPT_DISPATCH(block_maxima, (const float* row, long count, float* maxima, bool* has_nan), (row, count, maxima, has_nan))
RAPT_DISPATCH(block_exp_sums, (const float* row, long count, float shift, float scale, float* sums),
              (row, count, shift, scale, sums))
/// Writes whole blocks: the weights behind the last logit are 0.
RAPT_DISPATCH(exp_weights, (const float* row, long count, float shift, float scale, float* weights),
              (row, count, shift, scale, weights))

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::size_t block = logits_block;

std::size_t blocks_of(std::size_t tokens) {
  return (tokens + block - 1) / block;
}

bool before(const ScoredToken& a, const ScoredToken& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// 1 / temperature, kept where neither 0 * scale nor -inf * scale is NaN.
float scale_of(double temperature) {
  constexpr double smallest = std::numeric_limits<float>::min();
  constexpr double largest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(1.0 / temperature, smallest, largest));
}

}  // namespace

LogitRow::LogitRow(std::span<const float> logits, std::span<const std::int32_t> masked)
    : logits_(logits), masked_(masked), maxima_(blocks_of(logits.size())) {
  block_maxima(logits.data(), static_cast<long>(logits.size()), maxima_.data(), &has_nan_);
  largest_ = maxima_.empty() ? -infinity : *std::ranges::max_element(maxima_);
  mask_blocks();
}

void LogitRow::mask_blocks() {
  for (const std::int32_t token : masked_) {
    const std::size_t b = static_cast<std::size_t>(token) / block;
    const std::size_t end = std::min((b + 1) * block, logits_.size());
    maxima_[b] = -infinity;
    for (std::size_t i = b * block; i < end; ++i) {
      if (!is_masked(static_cast<std::int32_t>(i))) maxima_[b] = std::max(maxima_[b], logits_[i]);
    }
  }
}

bool LogitRow::is_masked(std::int32_t token) const {
  return std::ranges::binary_search(masked_, token);
}

std::string_view LogitRow::defect() const {
  if (has_nan_) return "hold NaN";
  if (largest_ == infinity) return "hold infinity";
  if (largest_ == -infinity) return "are all -infinity";
  return {};
}

double LogitRow::log_sum_exp() const {
  const std::vector<float> sums = block_sums(1.0);
  return static_cast<double>(largest_) + std::log(std::accumulate(sums.begin(), sums.end(), 0.0));
}

std::vector<float> LogitRow::block_sums(double temperature) const {
  std::vector<float> sums(maxima_.size());
  block_exp_sums(logits_.data(), static_cast<long>(logits_.size()), largest_, scale_of(temperature), sums.data());
  return sums;
}

std::vector<float> LogitRow::block_weights(std::size_t index, double temperature) const {
  const std::size_t begin = index * block;
  const std::size_t count = std::min(block, logits_.size() - begin);
  std::vector<float> weights(block);
  exp_weights(logits_.data() + begin, static_cast<long>(count), largest_, scale_of(temperature), weights.data());
  weights.resize(count);
  return weights;
}

std::int32_t LogitRow::first_token(std::size_t index) {
  return static_cast<std::int32_t>(index * block);
}

std::vector<ScoredToken> LogitRow::top(std::int64_t count) const {
  std::vector<ScoredToken> tokens = collect(threshold_for(count));
  const auto kept = std::min<std::int64_t>(count, static_cast<std::int64_t>(tokens.size()));
  if (kept > 0) std::ranges::nth_element(tokens, tokens.begin() + (kept - 1), before);
  tokens.resize(static_cast<std::size_t>(kept));
  std::ranges::sort(tokens, before);
  return tokens;
}

std::vector<ScoredToken> LogitRow::at_least(float threshold) const {
  std::vector<ScoredToken> tokens = collect(threshold);
  std::ranges::sort(tokens, before);
  return tokens;
}

/// A logit that at least `count` tokens reach: as many blocks have a maximum that large.
float LogitRow::threshold_for(std::int64_t count) const {
  if (count > static_cast<std::int64_t>(maxima_.size())) return -infinity;
  if (count == 1) return *std::ranges::max_element(maxima_);
  std::vector<float> sorted = maxima_;
  const auto nth = sorted.begin() + (count - 1);
  std::ranges::nth_element(sorted, nth, std::greater<>());
  return *nth;
}

std::vector<ScoredToken> LogitRow::collect(float threshold) const {
  std::vector<ScoredToken> tokens;
  for (std::size_t b = 0; b < maxima_.size(); ++b) {
    if (maxima_[b] < threshold) continue;
    const std::size_t end = std::min((b + 1) * block, logits_.size());
    for (std::size_t i = b * block; i < end; ++i) {
      const auto token = static_cast<std::int32_t>(i);
      if (logits_[i] >= threshold && logits_[i] > -infinity && !is_masked(token)) tokens.push_back({logits_[i], token});
    }
  }
  return tokens;
}

double log_probability(std::span<const float> logits, std::int32_t token) {
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - LogitRow(logits).log_sum_exp();
}

}  // namespace rapt::decoding
