/// Reading one row of logits: its softmax denominator and its few largest entries, without sorting the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rapt::decoding {

/// A token and its logit.
struct ScoredToken {
  float logit = 0;
  std::int32_t token = 0;
};

/// The logits [vocab] that follow one hypothesis, with the maxima of their blocks: only blocks whose maximum is large
/// enough are searched for the largest tokens. Views the logits, does not own them.
class LogitRow {
 public:
  /// masked: token ids, ascending, that are never chosen; they still count in the softmax.
  explicit LogitRow(std::span<const float> logits, std::span<const std::int32_t> masked = {});

  std::span<const float> logits() const { return logits_; }
  /// What makes the row unusable, to complete the sentence "the logits ..."; empty when nothing does.
  std::string_view defect() const;
  /// The largest logit, masked or not.
  float largest() const { return largest_; }
  /// log(sum(exp(logits))), masked tokens included: exponentials in float32, summed in float64.
  double log_sum_exp() const;
  /// exp((logit - largest) / temperature) of each token of a block, masked ones included; temperature > 0.
  std::vector<float> block_weights(std::size_t block, double temperature) const;
  /// The first token of a block.
  static std::int32_t first_token(std::size_t block);
  /// The sum of `block_weights` of each block.
  std::vector<float> block_sums(double temperature) const;

  /// The `count` largest tokens that are not masked, largest first, lower id first among equals; fewer when fewer have
  /// a logit above -inf.
  std::vector<ScoredToken> top(std::int64_t count) const;
  /// All tokens that are not masked and have a logit >= threshold and above -inf, in the order of `top`.
  std::vector<ScoredToken> at_least(float threshold) const;

 private:
  void mask_blocks();
  float threshold_for(std::int64_t count) const;
  std::vector<ScoredToken> collect(float threshold) const;
  bool is_masked(std::int32_t token) const;

  std::span<const float> logits_;
  std::span<const std::int32_t> masked_;
  std::vector<float> maxima_;  // of the tokens that are not masked
  float largest_ = 0;
  bool has_nan_ = false;
};

/// log softmax of logits [vocab] at one token.
double log_probability(std::span<const float> logits, std::int32_t token);

}  // namespace rapt::decoding
