#include "core/random.h"

#include <gtest/gtest.h>

namespace rapt {
namespace {

// Known answers published with the generator (Random123, kat_vectors: philox4x32 10 rounds).
TEST(Random, PhiloxGivesItsKnownAnswers) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, AStepDrawsTheSameStreamsAgain) {
  Random random(7);
  random.start_step(3);
  const RandomKey first = random.next();
  const RandomKey second = random.next();
  EXPECT_FALSE(first == second);
  random.start_step(3);
  EXPECT_EQ(random.next(), first);
  EXPECT_EQ(random.next(), second);
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  RandomSequence sequence(11);
  double mean = 0, normal_mean = 0, normal_square = 0;
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    mean += sequence.uniform() / n;
    const double z = sequence.normal();
    normal_mean += z / n;
    normal_square += z * z / n;
  }
  EXPECT_NEAR(mean, 0.5, 0.005);
  EXPECT_NEAR(normal_mean, 0.0, 0.015);
  EXPECT_NEAR(normal_square, 1.0, 0.02);
}

}  // namespace
}  // namespace rapt
