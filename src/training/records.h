/// What a run reports while it goes on, and who listens.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "training/batching.h"
#include "training/recipe.h"

namespace rapt::training {

/// One step. Losses are means over its target tokens, in nats.
struct StepRecord {
  std::int64_t step = 0;  ///< from 1
  Position position;      ///< of its (first) batch
  double loss = 0;        ///< what is minimised, with label smoothing
  double nll = 0;         ///< without
  double accuracy = 0;    ///< share of tokens whose largest logit is the right one
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  std::int64_t target_tokens = 0;
  std::int64_t source_tokens = 0;
  std::int64_t tokens = 0;  ///< that rates count: the targets, or what was read where only some of it is predicted
  double seconds = 0;       ///< that the step took
  double flops = 0;         ///< of its matrix products
  bool skipped = false;     ///< the loss or the gradient was not finite: the weights are unchanged
  std::int64_t skipped_so_far = 0;
  double progress = 0;       ///< the part of the run that is over, in [0, 1]
  double total_seconds = 0;  ///< since the run began, over all its sessions
};

/// Quality on held-out data.
struct Score {
  double loss = 0;  ///< mean negative log-likelihood of a token, in nats, without label smoothing
  double accuracy = 0;
  std::int64_t tokens = 0;
  std::optional<double> bleu;  ///< of translations; 0 to 100
  std::optional<double> chrf;

  double perplexity() const;
};

struct ValidationRecord {
  std::int64_t step = 0;
  std::string_view model = "current";  ///< or "average"
  Score score;
  bool best = false;  ///< the best so far
  double seconds = 0;
  double total_seconds = 0;
};

/// What is known when the first step is about to be taken.
struct RunSummary {
  const Recipe& recipe;
  std::int64_t parameters = 0;
  int threads = 1;
  double machine_flops = 0;  ///< a second, of the products of a step, as measured just now; 0: not measured
  std::int64_t step = 0;     ///< that a resumed run continues from
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void began(const RunSummary& /*summary*/) {}
  virtual void stepped(const StepRecord& /*record*/) {}
  virtual void validated(const ValidationRecord& /*record*/) {}
  /// One line for a person: what was read, saved, skipped or decided.
  virtual void note(std::string_view /*message*/) {}
  virtual void warn(std::string_view /*message*/) {}
};

}  // namespace rapt::training
