#include "decoding/model_stepper.h"

#include <algorithm>
#include <cstring>

namespace rapt::decoding {
namespace {

std::int32_t capacity_of(const Transformer& model, const ModelStepperOptions& options) {
  if (!model.config().limited_positions()) return options.capacity;
  return static_cast<std::int32_t>(std::min<std::int64_t>(options.capacity, model.config().max_positions));
}

/// The last row of each sequence.
Tensor last_rows(Context& ctx, const Ragged& hidden) {
  const Tensor& values = hidden.values.value();
  const Tensor result = ctx.allocate({hidden.sequences.count(), values.dim(1)}, values.dtype());
  const Columns rows = values.columns(0, values.dim(1));
  auto* to = static_cast<std::byte*>(result.raw_write());
  for (std::int32_t i = 0; i < hidden.sequences.count(); ++i, to += rows.bytes) {
    std::memcpy(to, rows.row(hidden.sequences.begin(i + 1) - 1), rows.bytes);
  }
  return result;
}

}  // namespace

ModelStepper::ModelStepper(Context& ctx, const Transformer& model, const ModelStepperOptions& options)
    : model_(model),
      cache_(options.sequences, std::max(options.sequences, options.max_hypotheses), capacity_of(model, options),
             model.config().decoder_layers, model.config().cache_width(), ctx.compute, nullptr) {}

ModelStepper::ModelStepper(Context& ctx, const Transformer& model, const RaggedTokens& source,
                           const ModelStepperOptions& options)
    : model_(model),
      memory_(model.encode(ctx, source)),
      cache_(source.sequences.count(), std::max(source.sequences.count(), options.max_hypotheses),
             capacity_of(model, options), model.config().decoder_layers, model.config().cache_width(), ctx.compute,
             &memory_.sequences) {}

Tensor ModelStepper::step(Context& ctx, const RaggedTokens& tokens) {
  const Ragged hidden = model_.decode(ctx, tokens, model_.config().encoder_decoder() ? &memory_ : nullptr, &cache_);
  return model_.project(ctx, Var(last_rows(ctx, hidden)), DType::f32).value();
}

}  // namespace rapt::decoding
