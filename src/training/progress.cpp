#include "training/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rapt::training {
namespace {

/// Between two writings of a line on a terminal.
constexpr double live_seconds = 0.25;

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(seconds, 0.0)));
  const std::int64_t hours = whole / 3600;
  const std::int64_t minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string grouped(std::int64_t number) {
  std::string digits = fmt::format("{}", number);
  const std::size_t first = digits.front() == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

Progress::~Progress() {
  if (!live_.empty()) std::fputc('\n', out_);
}

void Progress::began(const RunSummary& summary) {
  machine_flops_ = summary.machine_flops;
  steps_ = summary.recipe.limits.steps;
  std::string line = fmt::format("model: {} parameters; recipe {}, {} thread{}", grouped(summary.parameters),
                                 summary.recipe.name, summary.threads, summary.threads == 1 ? "" : "s");
  if (machine_flops_ > 0)
    line += fmt::format("; this machine multiplies at {:.0f} GFLOP/s in {}", machine_flops_ * 1e-9,
                        find_setting("precision").get(summary.recipe));
  if (summary.step > 0) line += fmt::format("; going on after step {}", grouped(summary.step));
  write_line(line);
}

std::string Progress::text(const StepRecord& record) const {
  const double steps = static_cast<double>(window_.steps);
  const double flops = window_.flops / window_.seconds;
  const std::string of = steps_ > 0 ? fmt::format("/{}", steps_) : "";
  std::string line =
      fmt::format("step {}{}  epoch {}  loss {:.4f}  ppl {:.4g}  lr {:.3g}  {} tok/s  {:.0f} GFLOP/s", record.step, of,
                  record.position.epoch + 1, window_.loss / steps, std::exp(window_.nll / steps), record.learning_rate,
                  grouped(std::llround(static_cast<double>(window_.tokens) / window_.seconds)), flops * 1e-9);
  if (machine_flops_ > 0) line += fmt::format(" ({:.0f} %)", 100 * flops / machine_flops_);
  if (record.skipped_so_far > 0) line += fmt::format("  {} skipped", record.skipped_so_far);
  return line + time_left(record);
}

std::string Progress::time_left(const StepRecord& record) const {
  const double done = record.progress - first_progress_;
  if (done <= 0) return "";
  const double seconds = (record.total_seconds - first_seconds_) * (1 - record.progress) / done;
  return fmt::format("  {} left", clock_text(seconds));
}

void Progress::stepped(const StepRecord& record) {
  if (!stepped_) {
    stepped_ = true;
    first_progress_ = record.progress;
    first_seconds_ = record.total_seconds;
  }
  window_.seconds += record.seconds;
  if (!record.skipped) {
    window_.flops += record.flops;
    window_.tokens += record.tokens;
    window_.loss += record.loss;
    window_.nll += record.nll;
    ++window_.steps;
  }
  if (window_.steps == 0 || window_.seconds < (options_.rewrite ? live_seconds : options_.seconds)) return;
  const std::string line = text(record);
  if (options_.rewrite) {
    fmt::print(out_, "\r{}\x1b[K", line);
    live_ = line;
    std::fflush(out_);
  } else {
    write_line(line);
  }
  window_ = {};
}

void Progress::validated(const ValidationRecord& record) {
  std::string line = fmt::format("validation at step {}{}: loss {:.4f}  ppl {:.4g}", record.step,
                                 record.model == "current" ? "" : fmt::format(", {} model", record.model),
                                 record.score.loss, record.score.perplexity());
  if (record.score.bleu) line += fmt::format("  BLEU {:.2f}", *record.score.bleu);
  if (record.score.chrf) line += fmt::format("  chrF {:.2f}", *record.score.chrf);
  if (record.best) line += "  (best)";
  write_line(line);
}

void Progress::note(std::string_view message) {
  write_line(message);
}

void Progress::warn(std::string_view message) {
  write_line(fmt::format("warning: {}", message));
}

void Progress::write_line(std::string_view line) {
  fmt::print(out_, "{}{}{}\n", live_.empty() ? "" : "\r", line, options_.rewrite ? "\x1b[K" : "");
  if (!live_.empty()) fmt::print(out_, "{}", live_);
  std::fflush(out_);
}

}  // namespace rapt::training
