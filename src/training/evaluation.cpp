#include "training/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

/// Tokens [begin, end) are read, and those from `scored` on predict what follows them.
struct Window {
  std::int64_t begin = 0;
  std::int64_t scored = 0;
  std::int64_t end = 0;
};

std::vector<Window> windows_of(std::int64_t predictions, const SlidingWindow& sliding) {
  std::vector<Window> windows;
  for (std::int64_t begin = 0, scored = 0; scored < predictions; begin += sliding.stride) {
    const std::int64_t end = std::min(begin + sliding.context, predictions);
    windows.push_back({.begin = begin, .scored = scored, .end = end});
    scored = end;
  }
  return windows;
}

/// The sum of -log p of what the windows score.
double score_windows(Context& ctx, const Transformer& model, std::span<const std::int32_t> text,
                     std::span<const Window> windows) {
  Batch batch;
  std::vector<std::vector<std::int32_t>> inputs;
  for (const Window& window : windows) {
    inputs.emplace_back(text.begin() + window.begin, text.begin() + window.end);
    batch.targets.insert(batch.targets.end(), text.begin() + window.begin + 1, text.begin() + window.end + 1);
  }
  batch.input = RaggedTokens::of(inputs);
  const Tensor row_nll = ctx.allocate({batch.target_tokens()}, DType::f32);
  model.loss(ctx, batch, {.row_nll = row_nll});
  double sum = 0;
  const float* row = row_nll.data<float>();
  for (const Window& window : windows) {
    sum = std::accumulate(row + (window.scored - window.begin), row + (window.end - window.begin), sum);
    row += window.end - window.begin;
  }
  return sum;
}

}  // namespace

Score evaluate_text(Context& ctx, const Transformer& model, std::span<const std::int32_t> text,
                    const SlidingWindow& window, const std::function<void(double done, double all)>& on_progress) {
  require(window.context >= 1, "a context of {} tokens; give 1 or more", window.context);
  require(window.stride >= 1 && window.stride <= window.context, "a stride of {} tokens; give 1 to the context, {}",
          window.stride, window.context);
  const std::int64_t predictions = std::ssize(text) - 1;
  require(predictions >= 1, "the text has {} tokens; at least 2 are needed to predict one", text.size());
  const std::vector<Window> windows = windows_of(predictions, window);
  double sum = 0;
  const auto at_once = static_cast<std::size_t>(std::max<std::int64_t>(1, window.batch_tokens / window.context));
  for (std::size_t first = 0; first < windows.size(); first += at_once) {
    sum +=
        score_windows(ctx, model, text, std::span(windows).subspan(first, std::min(at_once, windows.size() - first)));
    if (on_progress)
      on_progress(static_cast<double>(std::min(first + at_once, windows.size())), static_cast<double>(windows.size()));
  }
  return {.loss = sum / static_cast<double>(predictions), .tokens = predictions, .bleu = {}, .chrf = {}};
}

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
