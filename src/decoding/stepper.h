/// What the searches need of a model.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"
#include "core/ragged.h"

namespace rapt::decoding {

/// A model in the middle of writing several sequences ("hypotheses") at once, with its key-value cache.
class Stepper {
 public:
  virtual ~Stepper() = default;
  Stepper() = default;
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  /// Number of hypotheses alive.
  virtual std::int32_t hypotheses() const = 0;
  /// Tokens that it holds of a hypothesis.
  virtual std::int32_t length(std::int32_t hypothesis) const = 0;
  virtual std::int32_t vocab() const = 0;
  /// Most tokens that one hypothesis can have, prompt included.
  virtual std::int32_t capacity() const = 0;
  /// Appends tokens (one sequence per live hypothesis, each of at least one token) and returns the logits that follow
  /// the last token of each: f32 [hypotheses, vocab].
  virtual Tensor step(Context& ctx, const RaggedTokens& tokens) = 0;
  /// Hypothesis i continues what hypothesis from[i] was; hypotheses that nobody continues are dropped.
  virtual void reorder(std::span<const std::int32_t> from) = 0;
};

}  // namespace rapt::decoding
