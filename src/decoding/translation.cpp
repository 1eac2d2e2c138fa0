#include "decoding/translation.h"

#include <algorithm>
#include <numeric>

#include "decoding/model_stepper.h"

namespace rapt::decoding {
namespace {

BeamOptions beam_options(const ModelConfig& config, const TranslationOptions& options) {
  BeamOptions beam{.beam = options.beam,
                   .nbest = options.nbest,
                   .length_penalty = options.length_penalty,
                   .alpha = options.alpha,
                   .eos = config.eos,
                   .max_length_factor = options.max_length_factor,
                   .max_length_offset = options.max_length_offset,
                   .max_length = static_cast<std::int32_t>(config.max_positions)};
  if (config.forced_bos >= 0) beam.bos = config.forced_bos;
  if (config.pad >= 0) beam.forbidden = {config.pad};
  return beam;
}

std::vector<std::vector<Hypothesis>> translate_batch(Context& ctx, const Transformer& model,
                                                     std::span<const std::vector<std::int32_t>> sources,
                                                     const TranslationOptions& options) {
  std::vector<std::int32_t> lengths;
  for (const auto& source : sources) lengths.push_back(static_cast<std::int32_t>(source.size()));
  const std::vector<std::vector<std::int32_t>> first(sources.size(), {model.config().decoder_start});
  const auto longest = static_cast<std::int32_t>(options.max_length_factor * *std::ranges::max_element(lengths));
  ModelStepper stepper(ctx, model, RaggedTokens::of(sources),
                       {.max_hypotheses = static_cast<std::int32_t>(sources.size()) * options.beam,
                        .capacity = longest + options.max_length_offset + 1});
  return beam_search(ctx, stepper, RaggedTokens::of(first), lengths, beam_options(model.config(), options));
}

}  // namespace

std::vector<std::vector<Hypothesis>> translate(Context& ctx, const Transformer& model,
                                               std::span<const std::vector<std::int32_t>> sources,
                                               const TranslationOptions& options) {
  std::vector<std::size_t> order(sources.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return sources[a].size() > sources[b].size(); });

  std::vector<std::vector<Hypothesis>> results(sources.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::vector<std::vector<std::int32_t>> batch;
    std::int64_t tokens = 0;
    std::size_t end = begin;
    while (end < order.size() && (end == begin || tokens + std::ssize(sources[order[end]]) <= options.batch_tokens)) {
      batch.push_back(sources[order[end]]);
      tokens += std::ssize(batch.back());
      ++end;
    }
    auto translated = translate_batch(ctx, model, batch, options);
    for (std::size_t i = begin; i < end; ++i) results[order[i]] = std::move(translated[i - begin]);
    begin = end;
  }
  return results;
}

}  // namespace rapt::decoding
