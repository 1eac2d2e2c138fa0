#include "decoding/translation.h"

#include <algorithm>
#include <numeric>

#include "decoding/model_stepper.h"

namespace rapt::decoding {
namespace {

/// What the decoder reads first, and the token that it is made to write then, if there is one.
std::vector<std::int32_t> beginning_of(const ModelConfig& config, const TranslationOptions& options) {
  std::vector<std::int32_t> tokens{options.decoder_start.value_or(config.decoder_start)};
  const std::int32_t forced = options.forced_bos.value_or(config.forced_bos);
  if (forced >= 0) tokens.push_back(forced);
  return tokens;
}

BeamOptions beam_options(const ModelConfig& config, const TranslationOptions& options) {
  BeamOptions beam{.beam = options.beam,
                   .nbest = options.nbest,
                   .length_penalty = options.length_penalty,
                   .alpha = options.alpha,
                   .repetition_penalty = options.repetition_penalty,
                   .eos = config.eos,
                   .forbidden = options.forbidden,
                   .max_length_factor = options.max_length_factor,
                   .max_length_offset = options.max_length_offset,
                   .max_length = static_cast<std::int32_t>(config.max_positions)};
  if (config.pad >= 0) beam.forbidden.push_back(config.pad);
  return beam;
}

/// Puts the tokens that a hypothesis had to begin with in front of those that it wrote.
void prepend(std::span<const std::int32_t> tokens, Hypothesis& hypothesis) {
  hypothesis.tokens.insert(hypothesis.tokens.begin(), tokens.begin(), tokens.end());
  hypothesis.log_probabilities.insert(hypothesis.log_probabilities.begin(), tokens.size(), 0.0);
}

std::vector<std::vector<Hypothesis>> translate_batch(Context& ctx, const Transformer& model,
                                                     std::span<const std::vector<std::int32_t>> sources,
                                                     std::span<const std::vector<std::int32_t>> prefixes,
                                                     const TranslationOptions& options,
                                                     const std::function<void(double part)>& on_progress) {
  std::vector<std::int32_t> lengths;
  for (const auto& source : sources) lengths.push_back(static_cast<std::int32_t>(source.size()));
  std::vector<std::vector<std::int32_t>> first;
  const std::vector<std::int32_t> beginning = beginning_of(model.config(), options);
  BeamOptions beam = beam_options(model.config(), options);
  for (const auto& prefix : prefixes) {
    if (options.prefixes.empty()) {
      first.push_back({beginning.front()});
    } else {
      first.push_back(beginning);
      first.back().insert(first.back().end(), prefix.begin(), prefix.end());
    }
  }
  if (options.prefixes.empty() && beginning.size() > 1) beam.bos = beginning.back();
  const std::size_t longest_first = std::ranges::max_element(first, {}, [](const auto& f) { return f.size(); })->size();
  const auto longest = static_cast<std::int32_t>(options.max_length_factor * *std::ranges::max_element(lengths));
  const double longest_source = *std::ranges::max_element(lengths);
  ModelStepper stepper(ctx, model, RaggedTokens::of(sources),
                       {.max_hypotheses = static_cast<std::int32_t>(sources.size()) * options.beam,
                        .capacity = longest + options.max_length_offset + static_cast<std::int32_t>(longest_first),
                        .before_chunk = [&, written = 0.0](std::int64_t /*done*/, std::int64_t /*all*/) mutable {
                          if (on_progress) on_progress(std::min(1.0, written++ / longest_source));
                        }});
  auto found = beam_search(ctx, stepper, RaggedTokens::of(first), lengths, beam);
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (Hypothesis& hypothesis : found[i]) prepend(std::span(first[i]).subspan(1), hypothesis);
  }
  return found;
}

}  // namespace

std::vector<std::vector<Hypothesis>> translate(Context& ctx, const Transformer& model,
                                               std::span<const std::vector<std::int32_t>> sources,
                                               const TranslationOptions& options) {
  require(options.prefixes.empty() || options.prefixes.size() == sources.size(), "{} prefixes for {} sources",
          options.prefixes.size(), sources.size());
  std::vector<std::size_t> order(sources.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return sources[a].size() > sources[b].size(); });

  std::int64_t all = 0;
  for (const auto& source : sources) all += std::ssize(source);
  std::int64_t done = 0;
  std::vector<std::vector<Hypothesis>> results(sources.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::vector<std::vector<std::int32_t>> batch, prefixes;
    std::int64_t tokens = 0;
    std::size_t end = begin;
    while (end < order.size() && (end == begin || tokens + std::ssize(sources[order[end]]) <= options.batch_tokens)) {
      batch.push_back(sources[order[end]]);
      prefixes.push_back(options.prefixes.empty() ? std::vector<std::int32_t>() : options.prefixes[order[end]]);
      tokens += std::ssize(batch.back());
      ++end;
    }
    const auto tell = [&](double part_of_batch) {
      if (options.on_progress)
        options.on_progress((static_cast<double>(done) + part_of_batch * static_cast<double>(tokens)) /
                            static_cast<double>(all));
    };
    auto translated = translate_batch(ctx, model, batch, prefixes, options, tell);
    done += tokens;
    for (std::size_t i = begin; i < end; ++i) results[order[i]] = std::move(translated[i - begin]);
    begin = end;
  }
  return results;
}

}  // namespace rapt::decoding
