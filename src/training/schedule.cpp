#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace rapt::training {
namespace {

double after_warmup(const ScheduleOptions& options, double step) {
  const double warmup = static_cast<double>(std::max<std::int64_t>(options.warmup, 1));
  switch (options.kind) {
    case ScheduleKind::constant:
      break;
    case ScheduleKind::inverse_sqrt:
      return options.learning_rate * std::sqrt(warmup / step);
    case ScheduleKind::cosine: {
      const double begin = static_cast<double>(options.warmup);
      const double way = std::min((step - begin) / (static_cast<double>(options.decay_steps) - begin), 1.0);
      const double height = 0.5 * (1.0 + std::cos(std::numbers::pi * way));
      return options.final_learning_rate + height * (options.learning_rate - options.final_learning_rate);
    }
  }
  return options.learning_rate;
}

}  // namespace

double learning_rate(const ScheduleOptions& options, std::int64_t step) {
  const double at = static_cast<double>(step);
  if (step <= options.warmup) return options.learning_rate * at / static_cast<double>(options.warmup);
  return after_warmup(options, at);
}

double cooldown(double fraction, double progress) {
  const double left = std::clamp(1.0 - progress, 0.0, 1.0);
  return left < fraction ? left / fraction : 1.0;
}

double dropout_share(std::int64_t warmup, std::int64_t step) {
  return step < warmup ? static_cast<double>(step) / static_cast<double>(warmup) : 1.0;
}

void check(const ScheduleOptions& options) {
  require(options.learning_rate > 0 && std::isfinite(options.learning_rate),
          "--learning-rate is {}; it must be a positive number", options.learning_rate);
  require(options.warmup >= 0, "--warmup is {}; it must not be negative", options.warmup);
  require(options.final_learning_rate >= 0 && options.final_learning_rate <= options.learning_rate,
          "--final-learning-rate is {}; it must lie between 0 and --learning-rate {}", options.final_learning_rate,
          options.learning_rate);
  require(options.kind != ScheduleKind::cosine || options.decay_steps > options.warmup,
          "--schedule cosine ends at step {} (--decay-steps, or else --steps), before the end of --warmup {}",
          options.decay_steps, options.warmup);
}

}  // namespace rapt::training
