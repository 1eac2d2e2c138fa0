#include "training/evaluation.h"

#include <algorithm>
#include <cmath>

#include "decoding/beam.h"
#include "decoding/model_stepper.h"
#include "text/bleu.h"
#include "text/chrf.h"

namespace rapt::training {
namespace {

/// A translation is at most this much longer than its source.
constexpr double length_factor = 2;
constexpr std::int32_t length_offset = 20;

Score evaluate_loss(Context& ctx, const Transformer& model, std::span<const Batch> batches) {
  kernels::CrossEntropySums sums;
  std::int64_t tokens = 0;
  for (const Batch& batch : batches) {
    const auto batch_sums = model.loss(ctx, batch, {});
    sums.negative_log_likelihood += batch_sums.negative_log_likelihood;
    sums.correct += batch_sums.correct;
    tokens += batch.target_tokens();
  }
  const double count = static_cast<double>(tokens);
  return {.loss = sums.negative_log_likelihood / count,
          .accuracy = static_cast<double>(sums.correct) / count,
          .tokens = tokens,
          .bleu = {},
          .chrf = {}};
}

decoding::BeamOptions beam_options(const ModelConfig& config, int beam) {
  decoding::BeamOptions options{.beam = beam, .eos = config.eos};
  if (config.pad >= 0) options.forbidden = {config.pad};
  options.max_length_factor = length_factor;
  options.max_length_offset = length_offset;
  options.max_length = static_cast<std::int32_t>(config.max_positions);
  return options;
}

/// Translates `sources` as one batch and appends the results.
void translate_batch(Context& ctx, const Transformer& model, const TranslationTask& task,
                     std::span<const std::vector<std::int32_t>> sources, std::vector<std::string>& translations) {
  const ModelConfig& config = model.config();
  std::vector<std::int32_t> lengths;
  for (const auto& source : sources) lengths.push_back(static_cast<std::int32_t>(source.size()));
  const std::vector<std::vector<std::int32_t>> first(sources.size(), {config.decoder_start});
  const std::int32_t longest = static_cast<std::int32_t>(length_factor * *std::ranges::max_element(lengths));
  const auto capacity = std::min<std::int64_t>(longest + length_offset + 1, config.max_positions);
  decoding::ModelStepper stepper(ctx, model, RaggedTokens::of(sources),
                                 {.max_hypotheses = static_cast<std::int32_t>(sources.size()) * task.beam,
                                  .capacity = static_cast<std::int32_t>(capacity)});
  const auto results =
      decoding::beam_search(ctx, stepper, RaggedTokens::of(first), lengths, beam_options(config, task.beam));
  for (const auto& hypotheses : results) translations.push_back(task.decode(hypotheses.front().tokens));
}

}  // namespace

double Score::perplexity() const {
  return std::exp(loss);
}

std::vector<std::string> translate(Context& ctx, const Transformer& model, const TranslationTask& task) {
  std::vector<std::string> translations;
  const std::span<const std::vector<std::int32_t>> sources = task.sources;
  std::size_t begin = 0;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto length = static_cast<std::int64_t>(sources[i].size());
    if (i > begin && tokens + length > task.batch_tokens) {
      translate_batch(ctx, model, task, sources.subspan(begin, i - begin), translations);
      begin = i;
      tokens = 0;
    }
    tokens += length;
  }
  if (begin < sources.size()) translate_batch(ctx, model, task, sources.subspan(begin), translations);
  return translations;
}

Score Evaluator::evaluate(Context& ctx, const Transformer& model) const {
  Score score = evaluate_loss(ctx, model, batches_);
  if (translation_ && !translation_->sources.empty()) {
    const std::vector<std::string> translations = translate(ctx, model, *translation_);
    const std::vector<std::vector<std::string>> references{translation_->references};
    score.bleu = corpus_bleu(translations, references).score;
    score.chrf = corpus_chrf(translations, references).score;
  }
  return score;
}

}  // namespace rapt::training
