#include "decoding/segments.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace rapt::decoding {
namespace {

/// Every character that is no space is a token.
int count_letters(std::string_view text) {
  return static_cast<int>(
      std::ranges::count_if(text, [](char c) { return c != ' ' && (static_cast<unsigned char>(c) & 0xC0u) != 0x80u; }));
}

std::vector<std::string> split(std::string_view text, int limit) {
  return split_text(text, limit, count_letters);
}

using Parts = std::vector<std::string>;

TEST(SplitText, LeavesWhatFits) {
  EXPECT_EQ(split("ab cd", 4), Parts{"ab cd"});
  EXPECT_EQ(split("", 4), Parts{""});
}

TEST(SplitText, CutsBetweenWords) {
  EXPECT_EQ(split("ab cd  ef g", 5), (Parts{"ab cd", "ef g"}));
}

TEST(SplitText, PrefersTheEndOfASentence) {
  EXPECT_EQ(split("ab cd. ef gh ij", 8), (Parts{"ab cd.", "ef gh ij"}));
  // Not one in the first half of a part, which would make many small parts.
  EXPECT_EQ(split("a. bc de fg hi", 8), (Parts{"a. bc de fg", "hi"}));
}

TEST(SplitText, CutsALongWordBetweenCharacters) {
  const std::string word = "\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc";
  const Parts parts = split(word, 4);
  std::string joined;
  for (const std::string& part : parts) {
    EXPECT_LE(count_letters(part), 4);
    EXPECT_EQ(part.size() % 2, 0U) << "a character of two bytes was cut";
    joined += part;
  }
  EXPECT_EQ(joined, word);
}

TEST(SplitText, LosesNoWord) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "word" + std::to_string(i) + (i % 7 == 0 ? ". " : " ");
  std::string joined;
  for (const std::string& part : split(text, 50)) {
    EXPECT_LE(count_letters(part), 50);
    joined += part + " ";
  }
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace rapt::decoding
