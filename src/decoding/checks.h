/// Checks that all searches make of their options and of the model.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "decoding/stepper.h"

namespace rapt::decoding {

/// Throws Error unless `value` lies in [low, high]; NaN does not.
void check_range(std::string_view option, double value, double low, double high);

/// Throws Error unless `token` is one of a vocabulary of `vocab` tokens.
void check_token(std::string_view option, std::int32_t token, std::int32_t vocab);

/// Throws Error unless the stepper holds one hypothesis for each sequence of `first`, and each sequence has at least
/// one token that the stepper does not hold yet, only tokens of the vocabulary, and leaves room for one more.
void check_first_tokens(const Stepper& stepper, const RaggedTokens& first);

/// The tokens of each sequence behind those that the stepper holds.
RaggedTokens new_tokens(const Stepper& stepper, const RaggedTokens& first);

/// stepper.step(ctx, tokens); throws Error unless it returns f32 [hypotheses, vocab].
Tensor checked_step(Context& ctx, Stepper& stepper, const RaggedTokens& tokens);

/// Row `hypothesis` of logits [hypotheses, vocab].
std::span<const float> row_of(const Tensor& logits, std::int64_t hypothesis);

/// stepper.reorder(from), unless every hypothesis stays where it is.
void keep_hypotheses(Stepper& stepper, std::span<const std::int32_t> from);

}  // namespace rapt::decoding
