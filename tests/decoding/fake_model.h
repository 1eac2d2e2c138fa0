/// Language models small enough to enumerate, and the stepper that runs them.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "decoding/stepper.h"

namespace rapt::decoding {

using Tokens = std::vector<std::int32_t>;
/// The logits that follow a text.
using Model = std::function<std::vector<float>(const Tokens&)>;

/// A model that looks random and depends on the whole text: logits are multiples of 2^-17 in [-4, 4), plus `eos_bias`
/// for `eos`. script/goldens/beam.py has the same model.
inline Model hash_model(std::int32_t vocab, std::int32_t eos, float eos_bias = 0) {
  return [=](const Tokens& text) {
    const auto mix = [](std::uint64_t hash, std::int32_t token) {
      hash = (hash ^ static_cast<std::uint64_t>(token + 1)) * 0xBF58476D1CE4E5B9u;
      return hash ^ (hash >> 29);
    };
    std::uint64_t hash = 0x9E3779B97F4A7C15u;
    for (const std::int32_t token : text) hash = mix(hash, token);
    std::vector<float> logits;
    for (std::int32_t token = 0; token < vocab; ++token) {
      const std::uint64_t bits = mix(mix(hash, token), vocab) >> 44;
      logits.push_back(static_cast<float>(bits) / 131072.0f - 4.0f + (token == eos ? eos_bias : 0.0f));
    }
    return logits;
  };
}

/// log softmax in float64.
inline std::vector<double> log_softmax(const std::vector<float>& logits) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  std::vector<double> result;
  for (const float logit : logits) result.push_back(static_cast<double>(logit) - std::log(sum));
  return result;
}

/// Runs a Model as if it had a cache, and keeps count of what it was asked.
class FakeStepper : public Stepper {
 public:
  FakeStepper(Model model, std::int32_t sequences, std::int32_t capacity = 1000)
      : model_(std::move(model)),
        texts_(static_cast<std::size_t>(sequences)),
        vocab_(static_cast<std::int32_t>(model_({0}).size())),
        capacity_(capacity) {}

  std::int32_t hypotheses() const override { return static_cast<std::int32_t>(texts_.size()); }
  std::int32_t length(std::int32_t hypothesis) const override {
    return static_cast<std::int32_t>(texts_[static_cast<std::size_t>(hypothesis)].size());
  }
  std::int32_t vocab() const override { return vocab_; }
  std::int32_t capacity() const override { return capacity_; }

  Tensor step(Context& ctx, const RaggedTokens& tokens) override {
    require(tokens.sequences.count() == hypotheses(), "one sequence a hypothesis");
    const Tensor logits = ctx.allocate({hypotheses(), vocab_}, DType::f32);
    for (std::int32_t i = 0; i < hypotheses(); ++i) {
      Tokens& text = texts_[static_cast<std::size_t>(i)];
      require(tokens.sequences.length(i) > 0, "at least one token");
      const auto begin = tokens.ids.begin() + tokens.sequences.begin(i);
      text.insert(text.end(), begin, begin + tokens.sequences.length(i));
      require(std::ssize(text) < capacity_, "the text outgrew the model");
      const std::vector<float> row = model_(text);
      std::ranges::copy(row, logits.write<float>() + static_cast<std::int64_t>(i) * vocab_);
    }
    stepped.push_back(hypotheses());
    return logits;
  }

  void reorder(std::span<const std::int32_t> from) override {
    std::vector<Tokens> next;
    for (const std::int32_t i : from) next.push_back(texts_.at(static_cast<std::size_t>(i)));
    texts_ = std::move(next);
    ++reorders;
  }

  std::vector<std::int32_t> stepped;  ///< hypotheses of each step
  int reorders = 0;

 private:
  Model model_;
  std::vector<Tokens> texts_;
  std::int32_t vocab_;
  std::int32_t capacity_;
};

/// One first token a sequence.
inline RaggedTokens first_tokens(const Tokens& tokens) {
  return {tokens, Sequences::of_lengths(Tokens(tokens.size(), 1))};
}

}  // namespace rapt::decoding
