#include "training/evaluation.h"

#include <cmath>

#include "decoding/translation.h"
#include "text/bleu.h"
#include "text/chrf.h"

namespace rapt::training {
namespace {

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

}  // namespace

double Score::perplexity() const {
  return std::exp(loss);
}

std::vector<std::string> translate(Context& ctx, const Transformer& model, const TranslationTask& task) {
  const auto results = decoding::translate(
      ctx, model, task.sources,
      {.beam = task.beam, .length_penalty = LengthPenalty::average, .batch_tokens = task.batch_tokens});
  std::vector<std::string> translations;
  for (const auto& hypotheses : results) translations.push_back(task.decode(hypotheses.front().tokens));
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
