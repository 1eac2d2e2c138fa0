#include "decoding/stop_strings.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace rapt::decoding {
namespace {

/// The text before the stop string that is complete first, by trying every place.
std::string expected_text(const std::string& text, const std::vector<std::string>& strings) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t begin = std::string::npos;
    for (const std::string& string : strings) {
      if (text.substr(0, end).ends_with(string)) begin = std::min(begin, end - string.size());
    }
    if (begin != std::string::npos) return text.substr(0, begin);
  }
  return text;
}

TEST(StopStrings, EndTheTextHoweverItIsCut) {
  RandomSequence random(5, 0);
  const auto letters = [&](double length) {
    std::string text;
    while (static_cast<double>(text.size()) < length) text += random.uniform() < 0.5 ? 'a' : 'b';
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::string text = letters(20 * random.uniform());
    std::vector<std::string> strings;
    for (int i = round % 4; i > 0; --i) strings.push_back(letters(1 + 6 * random.uniform()));
    const std::string expected = expected_text(text, strings);
    StopStrings stop(strings);
    std::string shown;
    for (std::size_t begin = 0; begin < text.size();) {
      const auto size = static_cast<std::size_t>(1 + 4 * random.uniform());
      shown += stop.add(std::string_view(text).substr(begin, size));
      begin += size;
      ASSERT_TRUE(expected.starts_with(shown)) << shown << " of " << text;
    }
    shown += stop.finish();
    ASSERT_EQ(shown, expected) << text;
    ASSERT_EQ(stop.found(), expected != text);
    stopped += stop.found();
  }
  EXPECT_GT(stopped, 500);
}

TEST(StopStrings, HoldBackNoMoreThanMayBeAStop) {
  StopStrings stop({"\n\nUser:", "###"});
  EXPECT_EQ(stop.add("one #"), "one ");
  EXPECT_EQ(stop.add("2\n"), "#2");
  EXPECT_EQ(stop.add("\nUse"), "");
  EXPECT_EQ(stop.add("d"), "\n\nUsed");
  EXPECT_FALSE(stop.found());
  EXPECT_EQ(stop.add("#### more"), "");
  EXPECT_TRUE(stop.found());
  EXPECT_EQ(stop.add("more"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, MustNotBeEmpty) {
  EXPECT_THROW(StopStrings({"a", ""}), Error);
}

}  // namespace
}  // namespace rapt::decoding
