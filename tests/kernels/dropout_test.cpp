// The generator in the portable form that any compiler flags can build; the forms for the other instruction sets are
// tested through the kernels.
#define RAPT_LANES 4

#include "kernels/dropout.h"

#include "core/random.h"
#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

TEST(DropoutStream, DrawsWhatTheScalarGeneratorDraws) {
  const Dropout dropout{.probability = 0.25f, .key = {.low = 0xdeadbeef, .high = 0x12345678}};
  // Near the start, and where the counter exceeds 32 bits.
  for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{1} << 35, (std::int64_t{1} << 35) - 300}) {
    DropoutStream stream(mask_of(dropout));
    std::int64_t i = begin;
    for (const int count : {1, 127, 130, 1024, 513, 1000, 4}) {
      const Keep keep = stream.keep(i, count);
      for (int k = 0; k < count; ++k, ++i) {
        EXPECT_EQ(keep(broadcast(1.0), k)[0], rapt::testing::dropout_factor(dropout, i)) << i;
      }
    }
  }
}

}  // namespace
}  // namespace rapt::kernels
