/// A Transformer as the searches see it.
#pragma once

#include "decoding/stepper.h"
#include "model/transformer.h"

namespace rapt::decoding {

struct ModelStepperOptions {
  std::int32_t sequences =
      1;  ///< hypotheses at the start of a decoder-only model (an encoder-decoder has one a source)
  std::int32_t max_hypotheses = 1;  ///< most that reorder may make
  std::int32_t capacity = 256;      ///< most tokens of one hypothesis, the decoder's first included
};

/// Steps a Transformer with a preallocated key-value cache. The encoder runs once, in the constructor, and the keys and
/// values of cross-attention are computed once, at the first step.
class ModelStepper final : public Stepper {
 public:
  /// Decoder-only. The model must outlive the stepper.
  ModelStepper(Context& ctx, const Transformer& model, const ModelStepperOptions& options);
  /// Encoder-decoder: one hypothesis for each source sentence.
  ModelStepper(Context& ctx, const Transformer& model, const RaggedTokens& source, const ModelStepperOptions& options);

  std::int32_t hypotheses() const override { return cache_.hypotheses(); }
  std::int32_t vocab() const override { return static_cast<std::int32_t>(model_.config().vocab); }
  std::int32_t capacity() const override { return cache_.capacity(); }
  Tensor step(Context& ctx, const RaggedTokens& tokens) override;
  void reorder(std::span<const std::int32_t> from) override { cache_.reorder(from); }

 private:
  const Transformer& model_;
  Ragged memory_;
  DecoderCache cache_;
};

}  // namespace rapt::decoding
