#include "view/display_text.h"

#include <gtest/gtest.h>

namespace rapt::view {
namespace {

TEST(DisplayText, LeavesOrdinaryTextAlone) {
  for (const char* text : {"", "plain", "\u2581Größe", "日本語", "مرحبا", "\U0001F468\u200D\U0001F469", "e\u0301"}) {
    EXPECT_EQ(display_text(text), text);
  }
}

TEST(DisplayText, ReplacesBytesThatAreNoUtf8) {
  EXPECT_EQ(display_text("a\xff"
                         "b"),
            "a\uFFFDb");
  EXPECT_EQ(display_text("\xc3("), "\uFFFD(");
  EXPECT_EQ(display_text("\xe2\x96"), "\uFFFD\uFFFD") << "cut within a character";
  EXPECT_EQ(display_text("\xc0\xaf"), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(display_text("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD") << "surrogate";
  EXPECT_EQ(display_text("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD") << "beyond U+10FFFF";
}

TEST(DisplayText, SpellsOutWhatCannotBeSeen) {
  EXPECT_EQ(display_text(std::string_view("\0\n\x1b\x7f", 4)), "\u2400\u21B5\u241B\u2421");
  EXPECT_EQ(display_text("\u0085"), "[U+0085]");
  EXPECT_EQ(display_text("a\u202Eb\u2066"), "a[U+202E]b[U+2066]");
  EXPECT_EQ(display_text("\u200B\uFEFF\u2028\u00AD"), "[U+200B][U+FEFF][U+2028][U+00AD]");
  EXPECT_EQ(display_text("\U000E0041\uFFFE"), "[U+E0041][U+FFFE]");
}

TEST(DisplayText, CutsAtTheLimitAndSaysSo) {
  EXPECT_EQ(display_text("ßßß", 3), "ßßß");
  EXPECT_EQ(display_text("ßßßß", 3), "ßßß\u2026 (+2 bytes)");
  EXPECT_LT(display_text(std::string(300'000, 'x'), 64).size(), 100u);
}

TEST(HtmlText, EscapesMarkup) {
  EXPECT_EQ(html_text("<a href=\"x\" title='y'>&amp;</a>"),
            "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
}

TEST(ScriptJson, HoldsNoMarkupAndReadsBackTheSame) {
  const nlohmann::json value{{"</script>", "<!-- & \u2028 \u65e5 \" \\ ]]>"}, {"numbers", {1, 2.5}}};
  const std::string text = script_json(value);
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos);
  for (const char c : text) EXPECT_TRUE(c >= ' ' && c < 0x7F) << int(c);
  EXPECT_EQ(nlohmann::json::parse(text), value);
}

}  // namespace
}  // namespace rapt::view
