#include "view/base64.h"

#include <gtest/gtest.h>

#include <string_view>

namespace rapt::view {
namespace {

std::string encoded(std::string_view text) {
  return base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

// RFC 4648, section 10.
TEST(Base64, GivesTheTestVectorsOfItsStandard) {
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(Base64, TakesEveryByte) {
  EXPECT_EQ(encoded(std::string_view("\x00\xff\xfe\xfb", 4)), "AP/++w==");
}

}  // namespace
}  // namespace rapt::view
