#include "training/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "rapt/error.h"

namespace rapt::training {
namespace {

TEST(Schedule, InverseSqrtIsThePapersFormula) {
  const double d_model = 512;
  const double warmup = 4000;
  const ScheduleOptions options{.kind = ScheduleKind::inverse_sqrt,
                                .learning_rate = std::pow(d_model * warmup, -0.5),
                                .warmup = static_cast<std::int64_t>(warmup)};
  for (const std::int64_t step : {1, 7, 3999, 4000, 4001, 20000, 100000}) {
    const double at = static_cast<double>(step);
    const double paper = std::pow(d_model, -0.5) * std::min(std::pow(at, -0.5), at * std::pow(warmup, -1.5));
    EXPECT_NEAR(learning_rate(options, step), paper, 1e-15) << "step " << step;
  }
}

TEST(Schedule, DropoutRisesToItsValue) {
  EXPECT_EQ(dropout_share(0, 1), 1);
  EXPECT_EQ(dropout_share(4, 1), 0.25);
  EXPECT_EQ(dropout_share(4, 4), 1);
  EXPECT_EQ(dropout_share(4, 1000), 1);
}

TEST(Schedule, CosineRisesFallsAndStays) {
  const ScheduleOptions options{.kind = ScheduleKind::cosine,
                                .learning_rate = 1e-3,
                                .final_learning_rate = 1e-4,
                                .warmup = 100,
                                .decay_steps = 2000};
  EXPECT_DOUBLE_EQ(learning_rate(options, 50), 0.5e-3);
  EXPECT_DOUBLE_EQ(learning_rate(options, 100), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(options, 1050), (1e-3 + 1e-4) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 575),
                   1e-4 + 0.9e-3 * 0.5 * (1 + std::cos(std::numbers::pi * 475.0 / 1900.0)));
  EXPECT_DOUBLE_EQ(learning_rate(options, 2000), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 9000), 1e-4);
}

TEST(Schedule, ConstantWithAndWithoutWarmup) {
  ScheduleOptions options{.kind = ScheduleKind::constant, .learning_rate = 0.01, .warmup = 10};
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.001);
  EXPECT_DOUBLE_EQ(learning_rate(options, 11), 0.01);
  options.warmup = 0;
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.01);
}

TEST(Schedule, InverseSqrtWithoutWarmupStartsAtThePeak) {
  const ScheduleOptions options{.kind = ScheduleKind::inverse_sqrt, .learning_rate = 0.1, .warmup = 0};
  EXPECT_DOUBLE_EQ(learning_rate(options, 1), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(options, 4), 0.05);
}

TEST(Schedule, CooldownFallsLinearlyOverTheLastPart) {
  EXPECT_DOUBLE_EQ(cooldown(0.2, 0.0), 1);
  EXPECT_DOUBLE_EQ(cooldown(0.2, 0.8), 1);
  EXPECT_NEAR(cooldown(0.2, 0.9), 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(cooldown(0.2, 1.0), 0);
  EXPECT_DOUBLE_EQ(cooldown(0.2, 1.5), 0);
  EXPECT_DOUBLE_EQ(cooldown(0.0, 1.0), 1);
}

/// N5: a learning rate of zero or below, a warm-up longer than the cosine.
TEST(Schedule, RefusesNumbersThatMakeNoSchedule) {
  EXPECT_THROW(check(ScheduleOptions{.learning_rate = 0}), Error);
  EXPECT_THROW(check(ScheduleOptions{.learning_rate = std::nan("")}), Error);
  EXPECT_THROW(check(ScheduleOptions{.learning_rate = 1, .warmup = -1}), Error);
  EXPECT_THROW(check(ScheduleOptions{.kind = ScheduleKind::cosine, .warmup = 10, .decay_steps = 10}), Error);
  EXPECT_THROW(check(ScheduleOptions{.learning_rate = 1e-4, .final_learning_rate = 1e-3}), Error);
}

}  // namespace
}  // namespace rapt::training
