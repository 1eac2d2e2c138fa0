/// The comparisons that the other tests stand on: what is not a number is never within a bound.
#include "attention/testing.h"

namespace rapt::attention {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(AttentionTesting, LargestKeepsNaN) {
  EXPECT_EQ(largest({}), 0);
  EXPECT_EQ(largest({1, -3, 2}), 3);
  EXPECT_EQ(largest({1, -infinity, 2}), infinity);
  for (const std::vector<double>& x : {std::vector<double>{nan}, {nan, 5, 1}, {5, nan, 9}, {5, 9, nan}}) {
    EXPECT_TRUE(std::isnan(largest(x)));
  }
}

TEST(AttentionTesting, DistanceKeepsNaN) {
  EXPECT_EQ(distance({}, {}), 0);
  EXPECT_EQ(distance({1, -infinity}, {3, -infinity}), 2);
  EXPECT_EQ(distance({1, infinity}, {3, -infinity}), infinity);
  EXPECT_TRUE(std::isnan(distance({nan, 1}, {2, 5})));
  EXPECT_TRUE(std::isnan(distance({1, 1}, {nan, 5})));
  EXPECT_TRUE(std::isnan(distance({nan}, {nan})));
  EXPECT_TRUE(std::isnan(relative_distance({1, nan}, {1, 2})));
}

}  // namespace
}  // namespace rapt::attention
