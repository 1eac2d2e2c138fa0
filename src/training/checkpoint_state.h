/// What a checkpoint knows besides the weights: how far a run has come, and what it was started with.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/file.h"
#include "formats/json.h"
#include "training/batching.h"
#include "training/recipe.h"

namespace rapt::training {

/// Weights kept for averaging: a file of the run's directory.
struct Snapshot {
  std::int64_t step = 0;
  Digest digest;
};

/// Everything that a run continues from, besides the weights and the optimizer's moments.
struct TrainingState {
  std::int64_t step = 0;     ///< steps taken, skipped ones included
  Position next;             ///< the next batch
  std::int64_t updates = 0;  ///< of the optimizer
  std::int64_t target_tokens = 0;
  std::int64_t source_tokens = 0;
  std::int64_t skipped = 0;         ///< steps without a finite loss and gradient
  std::int64_t skipped_in_row = 0;  ///< of these, the latest without a good one in between
  std::optional<double> best;       ///< value of the metric, the greater the better: BLEU, or minus the loss
  std::int64_t best_step = 0;
  std::int64_t validated_step = 0;       ///< of the latest validation
  std::int64_t without_improvement = 0;  ///< validations since the best one
  std::vector<Snapshot> snapshots;       ///< of the last scheduled checkpoints, oldest first
  double seconds = 0;                    ///< of training, over all sessions
  std::int64_t journal_bytes = 0;
};

/// A text file that a run reads, and what was in it.
struct CorpusFile {
  std::string option;  ///< "source", "dev-text", ...
  std::string path;
  Digest digest;
};

/// What decides a run's results: the same record from the same state gives the same bits.
struct RunRecord {
  std::string recipe;
  std::map<std::string, std::string> settings;  ///< of recipe.h, by name, as text
  std::vector<CorpusFile> files;
  std::optional<FineTuning> fine_tuning;
  double dev_fraction = 0;  ///< of a text that is held out; 0: validation has its own files or there is none
  bool skip_invalid = false;
};

/// All settings of a recipe as text.
std::map<std::string, std::string> settings_of(const Recipe& recipe);
/// The recipe that a record describes. Throws Error, naming the setting, when this rapt does not know it or misses one.
Recipe recipe_of(const RunRecord& record, const std::string& file);

/// Throws Error that names what differs, if `now` could not continue what `before` began: settings other than limits
/// and intervals, the contents of a text, how it is divided.
void require_same_run(const RunRecord& before, const RunRecord& now);

/// "training.json" of a checkpoint.
std::string state_text(const TrainingState& state, const RunRecord& record);

struct StoredState {
  TrainingState state;
  RunRecord record;
};
/// Throws Error naming the key for anything but what state_text writes.
StoredState parse_state(const JsonObject& json);

}  // namespace rapt::training
