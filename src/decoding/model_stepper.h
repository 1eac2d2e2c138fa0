/// A Transformer as the searches see it.
#pragma once

#include <functional>
#include <optional>

#include "decoding/stepper.h"
#include "model/transformer.h"

namespace rapt::decoding {

struct ModelStepperOptions {
  std::int32_t sequences =
      1;  ///< hypotheses at the start of a decoder-only model (an encoder-decoder has one a source)
  std::int32_t max_hypotheses = 1;  ///< most that reorder may make
  std::int32_t capacity = 256;      ///< most tokens of one hypothesis, the decoder's first included
  /// Tokens of one sequence that go through the model together: longer ones go in chunks of as many, of which the last
  /// has up to twice as many less one, so that memory does not grow with the length of a prompt.
  std::int32_t chunk = 512;
  /// Called before each chunk with the tokens of the step that are done, and all of them. What it throws passes
  /// through; the stepper then holds the chunks before.
  std::function<void(std::int64_t done, std::int64_t all)> before_chunk = {};
  std::optional<DType> cache = std::nullopt;  ///< type of cached keys and values; when not set, what is computed with
};

/// Steps a Transformer with a key-value cache that grows with what it holds. The encoder runs once, in the constructor,
/// and the keys and values of cross-attention are computed once, at the first step.
class ModelStepper final : public Stepper {
 public:
  /// Decoder-only. The model must outlive the stepper.
  ModelStepper(Context& ctx, const Transformer& model, const ModelStepperOptions& options);
  /// Encoder-decoder: one hypothesis for each source sentence.
  ModelStepper(Context& ctx, const Transformer& model, const RaggedTokens& source, const ModelStepperOptions& options);

  std::int32_t hypotheses() const override { return cache_.hypotheses(); }
  std::int32_t length(std::int32_t hypothesis) const override { return cache_.length(hypothesis); }
  std::int32_t vocab() const override { return static_cast<std::int32_t>(model_.config().vocab); }
  std::int32_t capacity() const override { return cache_.capacity(); }
  Tensor step(Context& ctx, const RaggedTokens& tokens) override;
  void reorder(std::span<const std::int32_t> from) override { cache_.reorder(from); }
  /// Forgets what a hypothesis has behind its first `length` tokens; where a linear layer's state cannot go back, all
  /// of it: length() tells.
  void shorten(std::int32_t hypothesis, std::int32_t length) { cache_.shorten(hypothesis, length); }

 private:
  RaggedTokens next_chunk(const RaggedTokens& tokens, std::vector<std::int32_t>& taken) const;

  const Transformer& model_;
  ModelStepperOptions options_;
  Ragged memory_;
  DecoderCache cache_;
};

}  // namespace rapt::decoding
