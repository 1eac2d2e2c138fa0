#include "training/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace rapt::training {
namespace {

/// Between two writings of a line on a terminal.
constexpr double live_seconds = 0.25;

std::string whole(double number) {
  return grouped(static_cast<std::int64_t>(std::floor(number)));
}

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

std::string progress_text(double done, double total, double seconds, std::string_view unit) {
  std::string text;
  if (total > 0) text = fmt::format("{:3.0f} %  ", std::floor(100 * std::min(done / total, 1.0)));
  text +=
      total > 0 ? fmt::format("{} of {} {}", whole(done), whole(total), unit) : fmt::format("{} {}", whole(done), unit);
  if (done <= 0 || seconds <= 0) return fmt::format("{}  {}", text, clock_text(seconds));
  const double rate = done / seconds;
  text += rate >= 10 ? fmt::format("  {} {}/s", whole(rate), unit) : fmt::format("  {:.2g} {}/s", rate, unit);
  if (total > 0) text += fmt::format("  {} left", clock_text(std::max(total - done, 0.0) / rate));
  return text;
}

Progress::~Progress() {
  if (!live_.empty()) write("\n");
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

/// What is left out first where a terminal is narrow has the highest rank.
std::string Progress::text(const StepRecord& record, std::optional<int> columns) const {
  struct Part {
    int rank;
    std::string text;
  };
  const double steps = static_cast<double>(window_.steps);
  const double flops = window_.flops / window_.seconds;
  const std::string of = steps_ > 0 ? fmt::format("/{}", steps_) : "";
  const std::string percent = machine_flops_ > 0 ? fmt::format(" ({:.0f} %)", 100 * flops / machine_flops_) : "";
  const auto rate = std::llround(static_cast<double>(window_.tokens) / window_.seconds);
  std::vector<Part> parts{{0, fmt::format("step {}{}", record.step, of)},
                          {4, fmt::format("epoch {}", record.position.epoch + 1)},
                          {0, fmt::format("loss {:.4f}", window_.loss / steps)},
                          {3, fmt::format("ppl {:.4g}", std::exp(window_.nll / steps))},
                          {5, fmt::format("lr {:.3g}", record.learning_rate)},
                          {1, fmt::format("{} tok/s", grouped(rate))},
                          {2, fmt::format("{:.0f} GFLOP/s{}", flops * 1e-9, percent)}};
  if (record.skipped_so_far > 0) parts.push_back({0, fmt::format("{} skipped", record.skipped_so_far)});
  if (const std::string left = time_left(record); !left.empty()) parts.push_back({0, left});
  while (true) {
    std::string line;
    for (const Part& part : parts) line += (line.empty() ? "" : "  ") + part.text;
    if (!columns || std::ssize(line) < *columns) return line;
    const auto least = std::ranges::max_element(parts, {}, &Part::rank);
    if (least->rank == 0) return line.substr(0, static_cast<std::size_t>(std::max(*columns - 1, 0)));
    parts.erase(least);
  }
}

std::string Progress::time_left(const StepRecord& record) const {
  const double done = record.progress - first_progress_;
  if (done <= 0) return "";
  const double seconds = (record.total_seconds - first_seconds_) * (1 - record.progress) / done;
  return fmt::format("{} left", clock_text(seconds));
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
  const std::optional<int> columns = options_.columns();
  if (window_.steps == 0 || window_.seconds < (columns ? live_seconds : options_.seconds)) return;
  const std::string line = text(record, columns);
  if (columns) {
    write(fmt::format("\r{}\x1b[K", line));
    live_ = line;
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
  write(fmt::format("{}{}{}\n{}", live_.empty() ? "" : "\r", line, options_.columns() ? "\x1b[K" : "", live_));
}

void Progress::write(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

}  // namespace rapt::training
