/// The directory of a run.
///
///   OUTPUT/                      when the run is over: the model to use, a Hugging Face directory
///     train.jsonl                every figure
///     best/                      the model that scored best in validation so far, likewise
///     average/                   the mean of the last checkpoints, likewise
///     checkpoints/step-00001000/ likewise, and in it what --resume needs: training.json, optimizer.safetensors, and
///                                masters.safetensors, the weights in f32, where the model's file has them in less
///     snapshots/step-00001000.safetensors  weights of the last checkpoints, to be averaged
///
/// Each of these directories is written whole or not at all, and the two newest checkpoints are kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "families/model_directory.h"
#include "formats/directory.h"
#include "model/transformer.h"
#include "text/tokenizer.h"
#include "training/checkpoint_state.h"
#include "training/optimizer.h"

namespace rapt::training {

/// A checkpoint from which a run can go on.
struct StoredRun {
  std::filesystem::path directory;
  StoredState stored;
  std::vector<std::string> warnings;  ///< why newer checkpoints were passed over
};

/// The newest checkpoint of a run that is complete and undamaged; nothing when there is none at all. Throws Error when
/// there are some and all are damaged.
std::optional<StoredRun> find_newest_checkpoint(const std::filesystem::path& output);

/// Fills the model from a checkpoint's directory, bit for bit.
void restore_weights(Transformer& model, const StoredRun& run);

/// Fills the optimizer from a checkpoint's directory. Throws Error when it is of another model.
void restore_optimizer(Optimizer& optimizer, const StoredRun& run);

class CheckpointStore {
 public:
  /// For a new model. Keeps a reference to the tokenizer, whose files belong to every model that is written.
  CheckpointStore(std::filesystem::path output, const Tokenizer& tokenizer);
  /// For a model that is trained further: it is written as its directory was. Keeps a reference to that.
  CheckpointStore(std::filesystem::path output, const ModelDirectory& directory);

  const std::filesystem::path& output() const { return output_; }
  std::filesystem::path best() const { return output_ / "best"; }
  std::filesystem::path average() const { return output_ / "average"; }
  std::filesystem::path checkpoint(std::int64_t step) const;

  /// Writes the checkpoint of state.step and then deletes those before the one before.
  void save(const Transformer& model, const Optimizer& optimizer, const TrainingState& state,
            const RunRecord& record) const;
  void save_best(const Transformer& model, std::int64_t step) const;

  /// Keeps the model's present weights for averaging, with at most `keep` - 1 of the earlier ones.
  void add_snapshot(const Transformer& model, TrainingState& state, std::size_t keep) const;
  /// Writes the mean of the snapshots as a model and returns it. Snapshots that are missing or damaged are passed over
  /// and named in `warnings`; with fewer than two left, nothing is written and null returned.
  std::unique_ptr<Transformer> write_average(const ModelConfig& config, const TrainingState& state,
                                             std::vector<std::string>& warnings) const;

  /// Copies the files of a model (best, average, a checkpoint) to the run's own directory, the weights last.
  void publish(const std::filesystem::path& model) const;

  /// Moves checkpoints after `step`, from which the run did not go on because they are damaged, out of the way.
  void set_aside_after(std::int64_t step) const;

 private:
  std::filesystem::path snapshot(std::int64_t step) const;

  std::filesystem::path output_;
  /// Adds the model and the tokenizer's files.
  std::function<void(const Transformer& model, DirectoryWriter& writer)> add_model_;
  bool exact_ = true;  ///< whether those have every bit of the weights
};

}  // namespace rapt::training
