#include "decoding/translation.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "decoding/cache_memory.h"
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

/// The most tokens that a hypothesis of a sentence comes to, those that it begins with included.
std::int32_t most_tokens(const ModelConfig& config, const TranslationOptions& options, std::int64_t source_tokens) {
  std::size_t longest_prefix = 0;
  for (const auto& prefix : options.prefixes) longest_prefix = std::max(longest_prefix, prefix.size());
  const double written = options.max_length_factor * static_cast<double>(source_tokens) + options.max_length_offset;
  return static_cast<std::int32_t>(std::min(written, static_cast<double>(config.max_positions))) +
         static_cast<std::int32_t>(beginning_of(config, options).size() + longest_prefix);
}

void refuse_for_memory(const TranslationOptions& options, std::size_t source, std::int64_t tokens, std::uint64_t bytes,
                       std::uint64_t free) {
  fail("line {}: {} tokens with a beam of {} take {} for keys, values and scores, and {} of memory are free: {}",
       options.lines.empty() ? static_cast<std::int64_t>(source) + 1 : options.lines[source], tokens, options.beam,
       gigabytes(bytes), gigabytes(free),
       options.beam > 1 ? "use a smaller beam (--beam), or break the line into shorter ones"
                        : "break the line into shorter ones, or free some memory");
}

/// How many of the sources, of which the first is the longest, are searched together. Throws Error when the memory has
/// no room for the first.
std::size_t batch_size(const Context& ctx, const Transformer& model, std::span<const std::vector<std::int32_t>> sources,
                       std::span<const std::size_t> order, const TranslationOptions& options) {
  const std::optional<std::uint64_t> free = options.free_memory();
  CacheDemand demand{.texts = 0,
                     .tokens = most_tokens(model.config(), options, std::ssize(sources[order.front()])),
                     .dtype = ctx.compute};
  if (model.config().limited_positions()) demand.tokens = std::min(demand.tokens, model.config().max_positions);
  for (std::size_t count = 0; count < order.size(); ++count) {
    demand.texts += options.beam;
    demand.source_tokens += std::ssize(sources[order[count]]);
    const std::uint64_t caches = cache_bytes(model, demand);
    // As hypotheses grow, one layer's after the other moves to a larger place.
    const std::uint64_t moving = caches / static_cast<std::uint64_t>(model.config().decoder_layers);
    // What earlier batches took for their activations is used again.
    const std::uint64_t activations = activation_bytes(model, demand);
    const std::uint64_t bytes =
        caches + moving + activations - std::min<std::uint64_t>(activations, ctx.arena.reserved());
    const bool fits = !free || bytes <= *free;
    if (count == 0 && !fits) refuse_for_memory(options, order.front(), demand.source_tokens, bytes, *free);
    if (count > 0 && (!fits || demand.source_tokens > options.batch_tokens)) return count;
  }
  return order.size();
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
  const std::int32_t longest = *std::ranges::max_element(lengths);
  ModelStepper stepper(ctx, model, RaggedTokens::of(sources),
                       {.max_hypotheses = static_cast<std::int32_t>(sources.size()) * options.beam,
                        .capacity = most_tokens(model.config(), options, longest),
                        .before_chunk = [&, written = 0.0](std::int64_t /*done*/, std::int64_t /*all*/) mutable {
                          if (on_progress) on_progress(std::min(1.0, written++ / longest));
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
    const std::size_t end = begin + batch_size(ctx, model, sources, std::span(order).subspan(begin), options);
    for (std::size_t i = begin; i < end; ++i) {
      batch.push_back(sources[order[i]]);
      prefixes.push_back(options.prefixes.empty() ? std::vector<std::int32_t>() : options.prefixes[order[i]]);
      tokens += std::ssize(batch.back());
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
