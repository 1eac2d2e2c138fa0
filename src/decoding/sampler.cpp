#include "decoding/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "decoding/checks.h"

namespace rapt::decoding {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Probabilities of tokens, likeliest first, relative to the first: exp((logit - first logit) / temperature).
std::vector<double> weights_of(const std::vector<ScoredToken>& tokens, double temperature) {
  std::vector<double> weights;
  weights.reserve(tokens.size());
  for (const ScoredToken& t : tokens) {
    const double below = static_cast<double>(t.logit) - static_cast<double>(tokens.front().logit);
    weights.push_back(std::exp(below / temperature));
  }
  return weights;
}

/// How many of the first weights it takes to reach `mass`; all of them when they do not.
std::size_t count_with(double mass, const std::vector<double>& weights) {
  std::size_t count = 0;
  for (double sum = 0; count < weights.size() && sum < mass; ++count) sum += weights[count];
  return count;
}

/// A place on the line along which weights lie end to end.
struct Place {
  std::size_t index = 0;  ///< of the weight
  double rest = 0;        ///< how far into it
};

/// The place at distance `target`; in the last positive weight when rounding makes the line too short.
template <typename Weight>
Place place_at(double target, const std::vector<Weight>& weights) {
  Place place;
  double sum = 0;
  for (std::size_t i = 0; i < weights.size() && sum <= target; ++i) {
    if (weights[i] > 0) place = {i, target - sum};
    sum += static_cast<double>(weights[i]);
  }
  return place;
}

template <typename Weight>
double sum_of(const std::vector<Weight>& weights) {
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

}  // namespace

void check(const SamplingOptions& options, std::int32_t vocab) {
  constexpr double most = std::numeric_limits<double>::max();
  for (const std::int32_t token : options.forbidden) check_token("forbidden", token, vocab);
  check_range("temperature", options.temperature, 0, most);
  require(options.top_k >= 0, "top_k: expected at least 1, or 0 for all tokens, found {}", options.top_k);
  require(options.top_p > 0 && options.top_p <= 1, "top_p: expected a number above 0 and up to 1, found {}",
          options.top_p);
  check_range("min_p", options.min_p, 0, 1);
  require(options.repetition_penalty > 0 && options.repetition_penalty <= most,
          "repetition_penalty: expected a number above 0, found {}", options.repetition_penalty);
}

Sampler::Sampler(const SamplingOptions& options, std::int32_t vocab, std::uint64_t stream)
    : options_(options), vocab_(vocab), random_(options.seed, stream) {
  check(options, vocab);
}

std::int32_t Sampler::operator()(std::span<const float> logits, std::span<const std::int32_t> text) {
  const LogitRow values = row(logits, text);
  ++step_;
  if (options_.temperature == 0) return values.top(1).front().token;
  if (options_.top_k == 0 && options_.top_p == 1 && options_.min_p == 0) return draw(values);
  return draw(support(values));
}

std::vector<ScoredToken> Sampler::support(std::span<const float> logits, std::span<const std::int32_t> text) {
  return support(row(logits, text));
}

/// The logits with the repetition penalty and without forbidden tokens.
std::span<const float> Sampler::edited(std::span<const float> logits, std::span<const std::int32_t> text) {
  if (options_.repetition_penalty == 1 && options_.forbidden.empty()) return logits;
  edited_.assign(logits.begin(), logits.end());
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (const std::int32_t token : text) {
    check_token("text", token, vocab_);
    const float logit = logits[static_cast<std::size_t>(token)];
    edited_[static_cast<std::size_t>(token)] = logit > 0 ? logit / penalty : logit * penalty;
  }
  for (const std::int32_t token : options_.forbidden) edited_[static_cast<std::size_t>(token)] = -infinity;
  return edited_;
}

LogitRow Sampler::row(std::span<const float> logits, std::span<const std::int32_t> text) {
  require(std::ssize(logits) == vocab_, "step {}: {} logits for a vocabulary of {} tokens", step_ + 1, logits.size(),
          vocab_);
  LogitRow result(edited(logits, text));
  require(result.defect().empty(),
          "step {}: the model's logits {}; its weights, its input or the options are broken; "
          "rapt inspect --verify looks for broken weights",
          step_ + 1, result.defect());
  return result;
}

std::vector<ScoredToken> Sampler::support(const LogitRow& row) const {
  if (options_.temperature == 0) return row.top(1);
  if (options_.top_k == 0 && options_.top_p == 1) return with_min_p(row.at_least(lowest_logit(row)));
  return with_min_p(options_.top_k == 0 ? nucleus(row) : nucleus(row.top(options_.top_k)));
}

/// No logit below it passes min-p.
float Sampler::lowest_logit(const LogitRow& row) const {
  constexpr double least = std::numeric_limits<float>::lowest();
  const double lowest = static_cast<double>(row.largest()) + options_.temperature * std::log(options_.min_p);
  return std::nextafter(static_cast<float>(std::max(lowest, least)), -infinity);
}

std::vector<ScoredToken> Sampler::with_min_p(std::vector<ScoredToken> tokens) const {
  const std::vector<double> weights = weights_of(tokens, options_.temperature);
  const auto end = std::ranges::partition_point(weights, [&](double w) { return w >= options_.min_p; });
  tokens.resize(static_cast<std::size_t>(end - weights.begin()));
  return tokens;
}

/// Top-p of the tokens that top-k left.
std::vector<ScoredToken> Sampler::nucleus(std::vector<ScoredToken> tokens) const {
  if (options_.top_p == 1) return tokens;
  const std::vector<double> weights = weights_of(tokens, options_.temperature);
  tokens.resize(count_with(options_.top_p * sum_of(weights), weights));
  return tokens;
}

/// Top-p of all tokens: few of them mostly have that much, so the search begins with few.
std::vector<ScoredToken> Sampler::nucleus(const LogitRow& row) const {
  const double mass = options_.top_p * sum_of(row.block_sums(options_.temperature));
  for (std::int64_t few = 64;; few *= 8) {
    std::vector<ScoredToken> tokens = row.top(few);
    const std::size_t count = count_with(mass, weights_of(tokens, options_.temperature));
    if (count == tokens.size() && std::ssize(tokens) == few) continue;
    tokens.resize(count);
    return tokens;
  }
}

std::int32_t Sampler::draw(const LogitRow& row) {
  const std::vector<float> sums = row.block_sums(options_.temperature);
  const Place block = place_at(random_.uniform() * sum_of(sums), sums);
  const Place within = place_at(block.rest, row.block_weights(block.index, options_.temperature));
  return LogitRow::first_token(block.index) + static_cast<std::int32_t>(within.index);
}

std::int32_t Sampler::draw(const std::vector<ScoredToken>& tokens) {
  const std::vector<double> weights = weights_of(tokens, options_.temperature);
  return tokens[place_at(random_.uniform() * sum_of(weights), weights).index].token;
}

}  // namespace rapt::decoding
