/// The training loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "training/checkpoint_store.h"
#include "training/evaluation.h"
#include "training/journal.h"
#include "training/optimizer.h"
#include "training/recipe.h"
#include "training/records.h"

namespace rapt::training {

enum class Ending {
  steps,     ///< the limit of steps, ...
  epochs,    ///< ... epochs ...
  minutes,   ///< ... or time
  patience,  ///< no improvement for long enough
  stopped,   ///< from outside; the run can be resumed
};

/// "after 8000 steps", for messages.
std::string_view describe(Ending ending);

struct Outcome {
  Ending ending = Ending::steps;
  std::int64_t step = 0;
  FinalModel chosen = FinalModel::last;  ///< what now lies in the run's directory: average, best or last
  std::int64_t best_step = 0;
};

/// What a trainer works with; all of it outlives the trainer.
struct TrainerParts {
  Context& ctx;
  Transformer& model;
  Optimizer& optimizer;
  BatchSource& batches;
  const Evaluator* evaluator = nullptr;  ///< null: no validation
  CheckpointStore& store;
  Journal& journal;
  Observer& observer;
  std::function<bool()> stop;  ///< asked before every step
};

/// Runs a recipe on a model, from a state: a new one, or a checkpoint's.
class Trainer {
 public:
  Trainer(const Recipe& recipe, RunRecord record, TrainerParts parts, TrainingState state);

  /// Trains until a limit of the recipe or a stop, saves, and, unless stopped, leaves the final model in the run's
  /// directory. Throws Error when too many steps in a row have no finite loss and gradient, naming the batch, and when
  /// something cannot be written; the checkpoints stay whole.
  Outcome run();

 private:
  using Clock = std::chrono::steady_clock;

  std::optional<Ending> ended();
  double progress();
  double total_seconds() const;

  void step();
  std::vector<Batch> take_batches();
  void compute(const std::vector<Batch>& batches, StepRecord& record);
  bool update(StepRecord& record);
  void count(const StepRecord& record);
  void report_skipped(const StepRecord& record) const;

  double metric(const Score& score) const;
  void validate();
  void report(ValidationRecord record);
  void save(bool scheduled);

  FinalModel choose_model();
  bool average_is_better(const Transformer& average);
  std::filesystem::path directory_of(FinalModel model) const;

  Recipe recipe_;
  RunRecord record_;
  TrainerParts parts_;
  TrainingState state_;
  Clock::time_point began_;
  double seconds_before_;
  std::int64_t saved_step_;
};

}  // namespace rapt::training
