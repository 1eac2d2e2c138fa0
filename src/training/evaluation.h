/// Quality on held-out data.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "training/records.h"

namespace rapt::training {

/// Sentences to translate at every validation.
struct TranslationTask {
  std::vector<std::vector<std::int32_t>> sources;  ///< with their end-of-sentence token
  std::vector<std::string> references;
  std::function<std::string(std::span<const std::int32_t> ids)> decode;
  int beam = 1;
  std::int64_t batch_tokens = 4096;  ///< source tokens translated at once
};

/// Scores a model on the same data each time.
class Evaluator {
 public:
  Evaluator(std::vector<Batch> batches, std::optional<TranslationTask> translation)
      : batches_(std::move(batches)), translation_(std::move(translation)) {}

  /// The loss over all batches, without dropout and label smoothing; BLEU and chrF when there are sentences to
  /// translate.
  Score evaluate(Context& ctx, const Transformer& model) const;

 private:
  std::vector<Batch> batches_;
  std::optional<TranslationTask> translation_;
};

/// How a text that is longer than a model reads is cut: windows of `context` tokens, each `stride` tokens after the one
/// before. A token is scored in the first window that it ends up in, so all but those of the first window have at least
/// context - stride tokens before them.
struct SlidingWindow {
  std::int64_t context = 0;
  std::int64_t stride = 0;           ///< 1 to context
  std::int64_t batch_tokens = 4096;  ///< computed at once, or one window
};

/// Scores every token of a text but the first. on_progress is told how many windows are done, and of how many. Throws
/// Error for a window that makes no sense and for a text of fewer than two tokens.
Score evaluate_text(Context& ctx, const Transformer& model, std::span<const std::int32_t> text,
                    const SlidingWindow& window, const std::function<void(double done, double all)>& on_progress = {});

/// The translations of a task's sources, in order.
std::vector<std::string> translate(Context& ctx, const Transformer& model, const TranslationTask& task);

}  // namespace rapt::training
