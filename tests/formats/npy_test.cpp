#include "formats/npy.h"

#include <gtest/gtest.h>

namespace rapt {
namespace {

TEST(Npy, HeaderIsThatOfNumpy) {
  // numpy.save of zeros of shape (3, 384) and type float32, numpy 2.4.6
  const std::string description = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 384), }";
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += description + std::string(0x76 - description.size() - 1, ' ') + "\n";
  EXPECT_EQ(npy_header(3, 384), expected);
}

TEST(Npy, NumbersBeginAtAMultipleOf64) {
  for (std::int64_t rows = 0; rows < 2'000'000'000; rows = rows * 7 + 1) {
    const std::string header = npy_header(rows, 1);
    EXPECT_EQ(header.size() % 64, 0U);
    EXPECT_EQ(header.back(), '\n');
    EXPECT_EQ(header.size(),
              10U + static_cast<unsigned char>(header[8]) + 256U * static_cast<unsigned char>(header[9]));
  }
}

}  // namespace
}  // namespace rapt
