// The functions in the portable form that any compiler flags can build; the forms for the other instruction sets are
// tested through the kernels.
#define RAPT_LANES 4

#include "kernels/functions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace rapt::kernels {
namespace {

TEST(Functions, NormalCdfStaysWithinItsBound) {
  double worst = 0;
  for (double x = -8; x <= 8; x += 1e-4) {
    const auto z = static_cast<float>(x);
    const double erf = 2 * static_cast<double>(normal_cdf(broadcast(z))[0]) - 1;
    worst = std::max(worst, std::abs(erf - std::erf(static_cast<double>(z) / std::sqrt(2.0))));
    if (z < 0 && z > -4) {
      const double exact = 0.5 * std::erfc(-static_cast<double>(z) / std::sqrt(2.0));
      EXPECT_NEAR(static_cast<double>(normal_cdf(broadcast(z))[0]) / exact, 1, 1e-4);
    }
  }
  EXPECT_LE(worst, 2e-7);
  const float inf = __builtin_inff();
  EXPECT_EQ(normal_cdf(broadcast(-inf))[0], 0);
  EXPECT_EQ(normal_cdf(broadcast(inf))[0], 1);
  EXPECT_TRUE(std::isnan(normal_cdf(broadcast(__builtin_nanf("")))[0]));
}

TEST(Functions, SigmoidStaysWithinItsBound) {
  double worst = 0;
  for (double x = -30; x <= 30; x += 1e-3) {
    const auto z = static_cast<float>(x);
    worst = std::max(worst, std::abs(static_cast<double>(sigmoid(broadcast(z)).value[0]) -
                                     1 / (1 + std::exp(-static_cast<double>(z)))));
  }
  EXPECT_LE(worst, 1.5e-7);
  EXPECT_EQ(sigmoid(broadcast(-1000.0f)).value[0], 0);
  EXPECT_EQ(sigmoid(broadcast(1000.0f)).value[0], 1);
  EXPECT_TRUE(std::isnan(sigmoid(broadcast(__builtin_nanf(""))).value[0]));
}

TEST(Functions, ExpNonpositiveStaysWithinItsBound) {
  double worst = 0;
  double worst_exp2 = 0;
  for (double x = -87.2; x <= 0; x += 1e-3) {
    const F32 z = broadcast(static_cast<float>(x));
    const double at = z[0];
    worst = std::max(worst, std::abs(exp_nonpositive(z)[0] / std::exp(at) - 1) - 1.2e-7 * std::abs(at));
    worst_exp2 = std::max(worst_exp2, std::abs(exp2_nonpositive(z)[0] / std::exp2(at) - 1));
  }
  EXPECT_LE(worst, 2e-7);
  EXPECT_LE(worst_exp2, 2e-7);
  EXPECT_EQ(exp_nonpositive(broadcast(0.0f))[0], 1);
  EXPECT_EQ(exp_nonpositive(broadcast(-200.0f))[0], 0);
  EXPECT_EQ(exp_nonpositive(broadcast(-__builtin_inff()))[0], 0);
  EXPECT_TRUE(std::isnan(exp_nonpositive(broadcast(__builtin_nanf("")))[0]));
}

TEST(Functions, SoftplusStaysWithinItsBound) {
  double worst_log1p = 0;
  for (double x = 1e-30; x <= 1; x = x < 1e-3 ? 1.01 * x : x + 1e-4) {
    const F32 z = broadcast(static_cast<float>(x));
    worst_log1p = std::max(worst_log1p, std::abs(log1p_of_fraction(z)[0] / std::log1p(double{z[0]}) - 1));
  }
  EXPECT_LE(worst_log1p, 3e-7);
  EXPECT_EQ(log1p_of_fraction(F32{})[0], 0);
  double worst = 0;
  for (double x = -87; x <= 100; x += 1e-3) {
    const F32 z = broadcast(static_cast<float>(x));
    const double at = z[0];
    const double exact = std::max(at, 0.0) + std::log1p(std::exp(-std::abs(at)));
    worst = std::max(worst, std::abs(softplus(z)[0] / exact - 1) - 1.2e-7 * std::max(0.0, -at));
  }
  EXPECT_LE(worst, 6e-7);
  EXPECT_EQ(softplus(broadcast(-200.0f))[0], 0);
  EXPECT_EQ(softplus(broadcast(200.0f))[0], 200);
  EXPECT_TRUE(std::isnan(softplus(broadcast(__builtin_nanf("")))[0]));
}

}  // namespace
}  // namespace rapt::kernels
