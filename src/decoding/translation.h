/// Searching the translations of many sentences.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/memory.h"
#include "decoding/beam.h"
#include "model/transformer.h"

namespace rapt::decoding {

struct TranslationOptions {
  std::int32_t beam = 4;
  std::int32_t nbest = 1;
  LengthPenalty length_penalty = LengthPenalty::paper;
  std::optional<double> alpha = std::nullopt;
  double repetition_penalty = 1;
  std::int64_t batch_tokens = 4096;  ///< source tokens translated at once
  /// A translation has at most factor * source tokens + offset tokens, and no more than the model's positions.
  double max_length_factor = 2;
  std::int32_t max_length_offset = 20;
  std::optional<std::int32_t> decoder_start = std::nullopt;  ///< in place of the model's
  std::optional<std::int32_t> forced_bos = std::nullopt;     ///< in place of the model's: its first token
  std::vector<std::int32_t> forbidden = {};                  ///< tokens never written; padding never is either
  /// What the translations of each source begin with, at log-probability 0; one for each, or none at all.
  std::vector<std::vector<std::int32_t>> prefixes = {};
  /// Told again and again which part of the sources is translated, from 0 to 1: within a batch, as if translations were
  /// as long as their sources.
  std::function<void(double part)> on_progress = {};
  /// Asked before each batch for the bytes of memory that are free, if anybody knows.
  std::function<std::optional<std::uint64_t>()> free_memory = available_memory;
  std::vector<std::int64_t> lines = {};  ///< that the sources are of, for errors; when empty, 1, 2, ...
};

/// The n best translations of each source (ids with the end of the sentence), best first, in the order of the sources.
/// Sentences of similar length are searched together, as many as batch_tokens and the free memory allow; what a
/// sentence gets does not depend on its company. Throws Error, before any work of its batch, for a sentence whose
/// search alone takes more memory than is free.
std::vector<std::vector<Hypothesis>> translate(Context& ctx, const Transformer& model,
                                               std::span<const std::vector<std::int32_t>> sources,
                                               const TranslationOptions& options);

}  // namespace rapt::decoding
