/// A run from text files to a model directory: what `rapt train` does.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "training/records.h"
#include "training/task.h"
#include "training/trainer.h"

namespace rapt::training {

struct RunRequest {
  std::filesystem::path output;
  TaskFiles files;
  std::optional<FineTuning> fine_tuning;  ///< a model to train further; then there is no recipe
  std::string recipe;  ///< name; empty: "tiny" for pairs, "nanogpt-cpu" for text, or what the resumed run has
  std::vector<std::pair<std::string, std::string>> settings;  ///< names and values that differ from the recipe's
  bool resume = false;         ///< go on from the newest checkpoint in `output`; what is not given is as it was
  int threads = 0;             ///< 0: as many as the process may use
  double gauge_seconds = 0.2;  ///< spent on measuring the machine's ceiling; 0: not measured
};

/// Trains. Throws Error for options, text or a directory that cannot be used, naming what to do. `stop` is asked before
/// every step.
Outcome run(const RunRequest& request, Observer& observer, const std::function<bool()>& stop);

/// The recipe with the settings applied and completed. A run that is limited by --minutes or --epochs alone has no
/// limit of steps, and one limited by minutes cools down over its last fifth unless told otherwise; adam has no weight
/// decay.
Recipe resolve_recipe(Recipe recipe, const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace rapt::training
