#include "formats/printable.h"

#include <gtest/gtest.h>

namespace rapt {
namespace {

TEST(Printable, LeavesTextAlone) {
  EXPECT_EQ(std::string(printable("encoder.layers.0 \"größe\" 重み 🙂")),
            "encoder.layers.0 \"größe\" 重み 🙂");
}

TEST(Printable, EscapesWhatMovesTheCursorOrIsNotUtf8) {
  EXPECT_EQ(std::string(printable("a\nb\r\x1b[31m\x7f")), "a\\x0ab\\x0d\\x1b[31m\\x7f");
  EXPECT_EQ(std::string(printable(std::string_view("\0", 1))), "\\x00");
  EXPECT_EQ(std::string(printable("\xc2\x9b")), "\\xc2\\x9b");           // C1 control sequence introducer
  EXPECT_EQ(std::string(printable("\xe2\x80\xae")), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(std::string(printable("\xff\x80\xc3")), "\\xff\\x80\\xc3");  // never a lead byte, lone, cut off
  EXPECT_EQ(std::string(printable("\xc0\xaf\xed\xa0\x80")), "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong, surrogate
  EXPECT_EQ(std::string(printable("\xf4\x90\x80\x80")), "\\xf4\\x90\\x80\\x80");           // beyond U+10FFFF
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(std::string(printable(std::string(1000, 'x'), 10)), "xxxxxxxxxx...");
  EXPECT_EQ(std::string(printable("xxxxxxxxxx", 10)), "xxxxxxxxxx");
}

}  // namespace
}  // namespace rapt
