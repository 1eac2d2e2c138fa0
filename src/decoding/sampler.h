/// Drawing the next token of a text from a model's logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "decoding/logits.h"

namespace rapt::decoding {

/// Applied in the order of the members, which is that of Hugging Face transformers; what is off changes nothing.
struct SamplingOptions {
  std::vector<std::int32_t> forbidden = {};  ///< tokens never written
  /// Logits of tokens that the text already has, prompt included, are divided by it when positive, multiplied when
  /// negative (Keskar et al., "CTRL", 2019, section 4.1); 1: off.
  double repetition_penalty = 1;
  double temperature = 1;  ///< logits are divided by it; 0: always the likeliest token, lower id first among equals
  std::int32_t top_k = 0;  ///< only the k likeliest tokens; 0: off
  /// Only the likeliest tokens that together have this much of the probability (Holtzman et al., "The Curious Case of
  /// Neural Text Degeneration", 2020), in (0, 1]; 1: off.
  double top_p = 1;
  /// Only tokens at least this many times as likely as the likeliest (Nguyen et al., "Min-p Sampling", 2024), in [0,
  /// 1]; 0: off.
  double min_p = 0;
  std::uint64_t seed = 1;
};

/// Throws Error for options that make no sense.
void check(const SamplingOptions& options, std::int32_t vocab);

/// Draws the tokens of one text. The random numbers are those of (seed, stream) alone.
class Sampler {
 public:
  /// Throws Error for options that make no sense.
  Sampler(const SamplingOptions& options, std::int32_t vocab, std::uint64_t stream = 0);

  /// The next token, given the logits [vocab] that follow `text`. Throws Error, naming the step, for logits that are
  /// not numbers or forbid every token.
  std::int32_t operator()(std::span<const float> logits, std::span<const std::int32_t> text);
  /// The tokens that may be drawn, likeliest first, once the penalty, top-k, top-p and min-p have been applied.
  std::vector<ScoredToken> support(std::span<const float> logits, std::span<const std::int32_t> text);

 private:
  std::span<const float> edited(std::span<const float> logits, std::span<const std::int32_t> text);
  LogitRow row(std::span<const float> logits, std::span<const std::int32_t> text);
  std::vector<ScoredToken> support(const LogitRow& row) const;
  float lowest_logit(const LogitRow& row) const;
  std::vector<ScoredToken> with_min_p(std::vector<ScoredToken> tokens) const;
  std::vector<ScoredToken> nucleus(std::vector<ScoredToken> tokens) const;
  std::vector<ScoredToken> nucleus(const LogitRow& row) const;
  std::int32_t draw(const LogitRow& row);
  std::int32_t draw(const std::vector<ScoredToken>& tokens);

  SamplingOptions options_;
  std::int32_t vocab_;
  RandomSequence random_;
  std::vector<float> edited_;
  std::int64_t step_ = 0;  // tokens drawn
};

}  // namespace rapt::decoding
