#include "decoding/model_stepper.h"

#include <algorithm>
#include <cstring>

namespace rapt::decoding {
namespace {

std::int32_t capacity_of(const Transformer& model, const ModelStepperOptions& options) {
  if (!model.config().limited_positions()) return options.capacity;
  return static_cast<std::int32_t>(std::min<std::int64_t>(options.capacity, model.config().max_positions));
}

/// Copies the last row of each sequence that ends with this chunk to the sequence's row of `last`.
void keep_last_rows(const Ragged& hidden, const RaggedTokens& tokens, std::span<const std::int32_t> taken,
                    const Tensor& last) {
  const Columns rows = hidden.values.value().columns(0, last.dim(1));
  auto* to = static_cast<std::byte*>(last.raw_write());
  for (std::int32_t i = 0; i < tokens.sequences.count(); ++i, to += rows.bytes) {
    const bool ends = taken[static_cast<std::size_t>(i)] == tokens.sequences.length(i);
    if (ends && hidden.sequences.length(i) > 0)
      std::memcpy(to, rows.row(hidden.sequences.begin(i + 1) - 1), rows.bytes);
  }
}

}  // namespace

ModelStepper::ModelStepper(Context& ctx, const Transformer& model, const ModelStepperOptions& options)
    : model_(model),
      options_(options),
      cache_(options.sequences, std::max(options.sequences, options.max_hypotheses), capacity_of(model, options),
             model.config().decoder_layers, model.config().cache_width(), options.cache.value_or(ctx.compute),
             nullptr) {}

ModelStepper::ModelStepper(Context& ctx, const Transformer& model, const RaggedTokens& source,
                           const ModelStepperOptions& options)
    : model_(model),
      options_(options),
      memory_(model.encode(ctx, source)),
      cache_(source.sequences.count(), std::max(source.sequences.count(), options.max_hypotheses),
             capacity_of(model, options), model.config().decoder_layers, model.config().cache_width(),
             options.cache.value_or(ctx.compute), &memory_.sequences) {}

/// The next tokens of each sequence, of which `taken` have been taken already: none of some, so that the chunks of all
/// sequences together stay small. Where a sequence is cut depends on its own length alone, and so do the bits of what
/// is computed.
RaggedTokens ModelStepper::next_chunk(const RaggedTokens& tokens, std::vector<std::int32_t>& taken) const {
  const std::int32_t most_together = 4 * options_.chunk;
  RaggedTokens result;
  std::vector<std::int32_t> lengths(taken.size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto sequence = static_cast<std::int32_t>(i);
    const std::int32_t left = tokens.sequences.length(sequence) - taken[i];
    const std::int32_t length = left < 2 * options_.chunk ? left : options_.chunk;
    if (!result.ids.empty() && std::ssize(result.ids) + length > most_together) continue;
    const auto begin = tokens.ids.begin() + tokens.sequences.begin(sequence) + taken[i];
    result.ids.insert(result.ids.end(), begin, begin + length);
    lengths[i] = length;
    taken[i] += length;
  }
  result.sequences = Sequences::of_lengths(lengths);
  return result;
}

Tensor ModelStepper::step(Context& ctx, const RaggedTokens& tokens) {
  const Tensor last = ctx.allocate({tokens.sequences.count(), model_.config().d_model}, ctx.compute);
  std::vector<std::int32_t> taken(static_cast<std::size_t>(tokens.sequences.count()));
  std::int64_t done = 0;
  for (RaggedTokens chunk = next_chunk(tokens, taken); !chunk.ids.empty(); chunk = next_chunk(tokens, taken)) {
    if (options_.before_chunk) options_.before_chunk(done, std::ssize(tokens.ids));
    done += std::ssize(chunk.ids);
    const Ragged hidden = model_.decode(ctx, chunk, model_.config().encoder_decoder() ? &memory_ : nullptr, &cache_);
    keep_last_rows(hidden, tokens, taken, last);
  }
  return model_.project(ctx, Var(last), DType::f32).value();
}

}  // namespace rapt::decoding
