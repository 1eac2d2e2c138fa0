/// What a run learns: its text as batches, its tokenizer, its model's shape, and how it is scored.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "model/config.h"
#include "text/tokenizer.h"
#include "training/batching.h"
#include "training/checkpoint_state.h"
#include "training/corpus.h"
#include "training/evaluation.h"
#include "training/recipe.h"
#include "training/records.h"

namespace rapt::training {

/// The text of a run: pairs for translation, or one text for a language model.
struct TaskFiles {
  std::optional<ParallelFiles> pairs;
  std::optional<ParallelFiles> dev_pairs;
  std::optional<std::filesystem::path> text;
  std::optional<std::filesystem::path> dev_text;
  double dev_fraction = 0;  ///< of `text`, held out at its end when there is no dev_text; 0: no validation
  bool skip_invalid = false;
};

/// Not movable, because its batches refer to its tokens.
struct Task {
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  std::unique_ptr<Tokenizer> tokenizer;
  ModelConfig config;
  ParallelTokens pairs;
  std::vector<std::int32_t> text;
  TokenLists documents;
  TokenLists learnt;  ///< of conversations: which tokens of the documents are
  std::unique_ptr<BatchSource> batches;
  std::optional<Evaluator> evaluator;
  std::vector<CorpusFile> files;  ///< all that were read, in a fixed order
};

/// Reads the text and learns the vocabulary, or takes the one of `checkpoint` when a run is resumed. Tells the observer
/// what it found. Throws Error for text that cannot be used.
std::unique_ptr<Task> prepare_task(const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                                   const std::optional<std::filesystem::path>& checkpoint, Observer& observer);

/// Fills in the batches and the validation of a task whose tokenizer and config are there. positions: of a sentence to
/// validate with, at most.
void read_pairs(Task& task, const Context& ctx, const Recipe& recipe, const TaskFiles& files,
                const PairEncoder& encoder, std::int64_t positions, Observer& observer);
/// "; dropped 3 empty, 1 too long", for messages.
std::string dropped(const CorpusReport& report);
/// Tells how layers attend where the recipe changes it.
void tell_attention(Observer& observer, const Recipe& recipe, const ModelConfig& config);

}  // namespace rapt::training
