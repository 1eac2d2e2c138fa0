#include "text/utf8.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/random.h"
#include "text/helpers.h"

namespace rapt {
namespace {

bool is_surrogate(char32_t code_point) {
  return code_point >= 0xD800 && code_point <= 0xDFFF;
}

TEST(Utf8, EveryCodePointComesBack) {
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    std::string text;
    append_utf8(text, code_point);
    const Utf8Step step = utf8_step(text, 0);
    ASSERT_EQ(step.valid, !is_surrogate(code_point)) << std::uint32_t{code_point};
    if (!step.valid) continue;
    ASSERT_EQ(step.code_point, code_point);
    ASSERT_EQ(step.length, text.size());
  }
}

TEST(Utf8, InvalidSequencesAreReplacedAsPythonDoes) {
  const nlohmann::json cases = test::golden("unicode.json")["broken"];
  for (const auto& broken : cases) {
    const auto bytes = broken["bytes"].get<std::vector<unsigned char>>();
    const std::string text(bytes.begin(), bytes.end());
    EXPECT_EQ(replace_invalid_utf8(text), broken["replaced"].get<std::string>()) << broken;
    EXPECT_EQ(first_invalid_utf8(text) == std::string::npos, text == broken["replaced"].get<std::string>()) << broken;
  }
}

// reliability T3: bytes of any kind never harm, and what comes out is valid.
TEST(Utf8, RandomBytesAreReplacedByValidText) {
  RandomSequence random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random.below(24), '\0');
    for (char& byte : text) byte = static_cast<char>(random.below(4) ? 0x70 + random.below(0x90) : random.below(256));
    const std::string replaced = replace_invalid_utf8(text);
    ASSERT_EQ(first_invalid_utf8(replaced), std::string::npos);
    ASSERT_EQ(to_utf8(to_code_points(text)), replaced);
    const std::size_t invalid = first_invalid_utf8(text);
    ASSERT_EQ(invalid == std::string::npos, replaced == text);
    ASSERT_EQ(first_invalid_utf8(text.substr(0, invalid)), std::string::npos);
  }
}

TEST(Utf8, InvalidityIsFoundBehindLongAscii) {
  const std::string text = std::string(1000, 'a') + "\xC0" + std::string(1000, 'b');
  EXPECT_EQ(first_invalid_utf8(text), 1000u);
  EXPECT_EQ(test::error_of([&] { require_utf8(text, "x.txt"); }),
            "x.txt is not valid UTF-8 at byte 1000; convert it to UTF-8 first");
}

TEST(Utf8, APrefixIsCompleteAtTheLastWholeCodePoint) {
  const std::string text = "aé日😀b\U0010FFFF";
  std::size_t boundary = 0;
  for (std::size_t length = 0; length <= text.size(); ++length) {
    if (length == text.size() || (text[length] & 0xC0) != 0x80) boundary = length;
    EXPECT_EQ(complete_utf8_prefix(std::string_view(text).substr(0, length)), boundary) << length;
  }
  EXPECT_EQ(complete_utf8_prefix("a\x80"), 2u) << "what can never become valid is not waited for";
  EXPECT_EQ(complete_utf8_prefix("a\xE0\x80"), 3u);
  EXPECT_EQ(complete_utf8_prefix("a\xFF"), 2u);
}

}  // namespace
}  // namespace rapt
