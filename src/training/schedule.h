/// Learning-rate schedules.
#pragma once

#include <cstdint>

namespace rapt::training {

enum class ScheduleKind { constant, inverse_sqrt, cosine };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::inverse_sqrt;
  double learning_rate = 1e-3;     ///< the peak, reached at the end of warm-up
  double final_learning_rate = 0;  ///< what cosine ends with
  std::int64_t warmup = 0;         ///< steps of linear rise from 0 to the peak
  std::int64_t decay_steps = 0;    ///< step at which cosine has come down
};

/// The learning rate of a step (counted from 1). During warm-up it is peak * step / warmup; then
///   constant:      peak
///   inverse_sqrt:  peak * sqrt(warmup / step), "Attention Is All You Need", 5.3: the paper's
///                  d_model^-0.5 * min(step^-0.5, step * warmup^-1.5) is this with peak = (d_model * warmup)^-0.5
///   cosine:        final + (peak - final) * (1 + cos(pi * t)) / 2, t = (step - warmup) / (decay_steps - warmup),
///                  and final from decay_steps on (Loshchilov, Hutter 2017)
double learning_rate(const ScheduleOptions& options, std::int64_t step);

/// What multiplies the learning rate near the end of a run: 1, then linearly to 0 over the last `fraction` of it.
/// progress: the part of the run that is over, in [0, 1]. Lets a run of limited time end annealed.
double cooldown(double fraction, double progress);

/// What multiplies dropout at a step (counted from 1): it rises linearly from 0 over the first `warmup` steps. A small
/// model with much dropout otherwise takes very long to find out what to attend to (Morerio et al., "Curriculum
/// Dropout", 2017).
double dropout_share(std::int64_t warmup, std::int64_t step);

/// Throws Error, naming the option, for numbers that make no schedule (negative rates, a cosine that ends before the
/// warm-up does).
void check(const ScheduleOptions& options);

}  // namespace rapt::training
