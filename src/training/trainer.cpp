#include "training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/tape.h"
#include "core/error.h"
#include "kernels/gemm.h"

namespace rapt::training {
namespace {

/// True for numbers, false for NaN and infinity.
bool is_finite(double value) {
  return std::abs(value) <= std::numeric_limits<double>::max();
}

/// Lets a context record operations for as long as it lives.
class Recording {
 public:
  explicit Recording(Context& ctx) : ctx_(ctx) { ctx_.tape = &tape_; }
  ~Recording() { ctx_.tape = nullptr; }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  void run_backward() { tape_.run_backward(ctx_); }

 private:
  Context& ctx_;
  Tape tape_;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

bool due(std::int64_t step, std::int64_t every) {
  return every > 0 && step % every == 0;
}

}  // namespace

std::string_view describe(Ending ending) {
  constexpr std::string_view texts[] = {"the limit of steps is reached", "the limit of epochs is reached",
                                        "the time is over", "validation has stopped improving", "stopped by a signal"};
  return texts[static_cast<int>(ending)];
}

Trainer::Trainer(const Recipe& recipe, RunRecord record, TrainerParts parts, TrainingState state)
    : recipe_(recipe),
      record_(std::move(record)),
      parts_(std::move(parts)),
      state_(std::move(state)),
      began_(Clock::now()),
      seconds_before_(state_.seconds),
      saved_step_(state_.step > 0 ? state_.step : -1) {}

Outcome Trainer::run() {
  std::optional<Ending> ending = ended();
  while (!ending) {
    step();
    if (due(state_.step, recipe_.validation.every)) validate();
    if (due(state_.step, recipe_.checkpoints.every)) save(true);
    ending = ended();
  }
  if (*ending == Ending::stopped) {
    save(false);
    return {.ending = *ending, .step = state_.step, .best_step = state_.best_step};
  }
  validate();
  save(false);
  const FinalModel chosen = choose_model();
  parts_.store.publish(directory_of(chosen));
  parts_.journal.flush();
  return {.ending = *ending, .step = state_.step, .chosen = chosen, .best_step = state_.best_step};
}

std::optional<Ending> Trainer::ended() {
  const Limits& limits = recipe_.limits;
  if (parts_.stop()) return Ending::stopped;
  if (limits.steps > 0 && state_.step >= limits.steps) return Ending::steps;
  if (limits.epochs > 0 && state_.next.epoch >= limits.epochs) return Ending::epochs;
  if (limits.minutes > 0 && total_seconds() >= 60 * limits.minutes) return Ending::minutes;
  const int patience = recipe_.validation.patience;
  if (patience > 0 && state_.without_improvement >= patience) return Ending::patience;
  return std::nullopt;
}

double Trainer::progress() {
  const Limits& limits = recipe_.limits;
  double done = 0;
  if (limits.steps > 0) done = static_cast<double>(state_.step) / static_cast<double>(limits.steps);
  if (limits.epochs > 0) {
    const Position& next = state_.next;
    const double part = static_cast<double>(next.batch) / static_cast<double>(parts_.batches.batches(next.epoch));
    done = std::max(done, (static_cast<double>(next.epoch) + part) / static_cast<double>(limits.epochs));
  }
  if (limits.minutes > 0) done = std::max(done, total_seconds() / (60 * limits.minutes));
  return std::min(done, 1.0);
}

double Trainer::total_seconds() const {
  return seconds_before_ + seconds_since(began_);
}

void Trainer::step() {
  const auto begin = Clock::now();
  const std::uint64_t flops = kernels::gemm_flops();
  const Position position = state_.next;
  const double rate = learning_rate(recipe_.schedule, state_.step + 1) * cooldown(recipe_.limits.cooldown, progress());

  StepRecord record{.step = state_.step + 1, .position = position, .learning_rate = rate};
  compute(take_batches(), record);
  record.skipped = !update(record);
  parts_.optimizer.clear_gradients();
  count(record);

  record.skipped_so_far = state_.skipped;
  record.seconds = seconds_since(begin);
  record.flops = static_cast<double>(kernels::gemm_flops() - flops);
  record.progress = progress();
  record.total_seconds = total_seconds();
  parts_.journal.write(record);
  parts_.observer.stepped(record);
  if (record.skipped) report_skipped(record);
}

std::vector<Batch> Trainer::take_batches() {
  std::vector<Batch> batches;
  for (int i = 0; i < recipe_.accumulate; ++i) {
    batches.push_back(parts_.batches.batch(state_.next));
    state_.next = parts_.batches.after(state_.next);
  }
  return batches;
}

/// The gradient of the mean loss over the tokens of all batches.
void Trainer::compute(const std::vector<Batch>& batches, StepRecord& record) {
  kernels::CrossEntropySums sums;
  for (const Batch& batch : batches) {
    record.target_tokens += batch.target_tokens();
    record.source_tokens += batch.source.sequences.tokens();
    record.tokens += batch.predicted.empty() ? batch.target_tokens()
                                             : batch.source.sequences.tokens() + batch.input.sequences.tokens();
  }
  const double tokens = static_cast<double>(record.target_tokens);
  parts_.ctx.dropout_share = static_cast<float>(dropout_share(recipe_.dropout_warmup, state_.step + 1));
  for (std::size_t i = 0; i < batches.size(); ++i) {
    parts_.ctx.random.start_step(static_cast<std::uint64_t>(state_.step) * batches.size() + i);
    Recording recording(parts_.ctx);
    const auto more =
        parts_.model.loss(parts_.ctx, batches[i],
                          {.label_smoothing = recipe_.label_smoothing, .gradient_scale = 1 / tokens, .row_nll = {}});
    sums.loss += more.loss;
    sums.negative_log_likelihood += more.negative_log_likelihood;
    sums.correct += more.correct;
    if (!is_finite(sums.loss)) break;
    recording.run_backward();
  }
  record.loss = sums.loss / tokens;
  record.nll = sums.negative_log_likelihood / tokens;
  record.accuracy = static_cast<double>(sums.correct) / tokens;
}

/// Returns whether the weights were updated: not if a number is not finite.
bool Trainer::update(StepRecord& record) {
  record.gradient_norm =
      is_finite(record.loss) ? parts_.optimizer.gradient_norm(parts_.ctx) : std::numeric_limits<double>::quiet_NaN();
  if (!is_finite(record.gradient_norm)) return false;
  const bool clipped = recipe_.clip > 0 && record.gradient_norm > recipe_.clip;
  parts_.optimizer.update(parts_.ctx, record.learning_rate, clipped ? recipe_.clip / record.gradient_norm : 1.0);
  return true;
}

void Trainer::count(const StepRecord& record) {
  ++state_.step;
  state_.updates = parts_.optimizer.updates();
  state_.target_tokens += record.target_tokens;
  state_.source_tokens += record.source_tokens;
  state_.skipped += record.skipped ? 1 : 0;
  state_.skipped_in_row = record.skipped ? state_.skipped_in_row + 1 : 0;
}

void Trainer::report_skipped(const StepRecord& record) const {
  const std::string what = fmt::format("step {}, {}: loss {}, norm of the gradient {}", record.step,
                                       parts_.batches.describe(record.position), record.loss, record.gradient_norm);
  require(state_.skipped_in_row < recipe_.max_bad_steps,
          "training has broken down: {} steps in a row without a finite loss and gradient (--max-bad-steps), the last "
          "one {}; lower --learning-rate or set --clip, and resume from {}",
          state_.skipped_in_row, what, parts_.store.output().string());
  parts_.observer.warn(fmt::format("skipped {}", what));
}

double Trainer::metric(const Score& score) const {
  // Greater is better, whichever it is.
  return recipe_.validation.metric == Metric::bleu ? score.bleu.value_or(0) : -score.loss;
}

void Trainer::validate() {
  if (parts_.evaluator == nullptr || state_.validated_step == state_.step) return;
  const auto begin = Clock::now();
  const Score score = parts_.evaluator->evaluate(parts_.ctx, parts_.model);
  state_.validated_step = state_.step;
  const bool best = is_finite(metric(score)) && (!state_.best || metric(score) > *state_.best);
  if (best) {
    state_.best = metric(score);
    state_.best_step = state_.step;
    state_.without_improvement = 0;
    parts_.store.save_best(parts_.model, state_.step);
  } else {
    ++state_.without_improvement;
  }
  report({.step = state_.step, .score = score, .best = best, .seconds = seconds_since(begin)});
}

void Trainer::report(ValidationRecord record) {
  record.total_seconds = total_seconds();
  parts_.journal.write(record);
  parts_.observer.validated(record);
}

void Trainer::save(bool scheduled) {
  if (saved_step_ == state_.step) return;
  if (scheduled && recipe_.checkpoints.average > 1)
    parts_.store.add_snapshot(parts_.model, state_, static_cast<std::size_t>(recipe_.checkpoints.average));
  state_.seconds = total_seconds();
  state_.journal_bytes = parts_.journal.flush();
  parts_.store.save(parts_.model, parts_.optimizer, state_, record_);
  saved_step_ = state_.step;
}

FinalModel Trainer::choose_model() {
  const FinalModel wanted = recipe_.checkpoints.final_model;
  const FinalModel otherwise = state_.best ? FinalModel::best : FinalModel::last;
  if (wanted == FinalModel::last) return wanted;
  if (wanted == FinalModel::best) return otherwise;
  std::vector<std::string> warnings;
  const auto averaged = parts_.store.write_average(parts_.model.config(), state_, warnings);
  for (const std::string& warning : warnings) parts_.observer.warn(warning);
  if (!averaged) {
    if (recipe_.checkpoints.average > 1)
      parts_.observer.note("fewer than two checkpoints were saved on schedule (--save-every): nothing to average");
    return otherwise;
  }
  if (wanted == FinalModel::average || parts_.evaluator == nullptr) return FinalModel::average;
  return average_is_better(*averaged) ? FinalModel::average : otherwise;
}

bool Trainer::average_is_better(const Transformer& average) {
  const auto begin = Clock::now();
  const Score score = parts_.evaluator->evaluate(parts_.ctx, average);
  const bool better = is_finite(metric(score)) && (!state_.best || metric(score) >= *state_.best);
  report({.step = state_.step, .model = "average", .score = score, .best = better, .seconds = seconds_since(begin)});
  return better;
}

std::filesystem::path Trainer::directory_of(FinalModel model) const {
  if (model == FinalModel::average) return parts_.store.average();
  if (model == FinalModel::best) return parts_.store.best();
  return parts_.store.checkpoint(state_.step);
}

}  // namespace rapt::training
