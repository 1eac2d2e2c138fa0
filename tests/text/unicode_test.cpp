#include "text/unicode.h"

#include <gtest/gtest.h>

#include <vector>

#include "text/helpers.h"

namespace rapt {
namespace {

TEST(Unicode, WhitespaceIsThatOfPython) {
  std::vector<std::uint32_t> whitespace;
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (is_whitespace(code_point)) whitespace.push_back(code_point);
  }
  EXPECT_EQ(whitespace, test::golden("unicode.json")["whitespace"].get<std::vector<std::uint32_t>>());
}

TEST(Unicode, TextsAreLoweredSplitStrippedAndNormalisedAsByPython) {
  const nlohmann::json texts = test::golden("unicode.json")["texts"];
  for (const auto& golden : texts) {
    const auto text = golden["text"].get<std::string>();
    const std::vector<std::string_view> words = split_words(text);
    EXPECT_EQ(to_lower(text), golden["lower"].get<std::string>());
    EXPECT_EQ(std::vector<std::string>(words.begin(), words.end()), golden["words"].get<std::vector<std::string>>());
    EXPECT_EQ(strip(text), golden["stripped"].get<std::string>());
    EXPECT_EQ(strip_right(text), golden["right_stripped"].get<std::string>());
    EXPECT_EQ(normalize(text, NormalizationForm::nfc), golden["NFC"].get<std::string>());
    EXPECT_EQ(normalize(text, NormalizationForm::nfd), golden["NFD"].get<std::string>());
    EXPECT_EQ(normalize(text, NormalizationForm::nfkc), golden["NFKC"].get<std::string>());
    EXPECT_EQ(normalize(text, NormalizationForm::nfkd), golden["NFKD"].get<std::string>());
  }
}

TEST(Unicode, CategoriesTellPunctuationSymbolsAndNumbers) {
  for (const char32_t c : U".,-_(«»“‘、。؟") EXPECT_EQ(is_punctuation(c), c != 0) << std::uint32_t{c};
  for (const char32_t c : U"$+<=>^`|~€©→😀") EXPECT_EQ(is_symbol(c), c != 0) << std::uint32_t{c};
  for (const char32_t c : U"09²½Ⅷ٣五") EXPECT_EQ(is_number(c), c != 0 && c != U'五') << std::uint32_t{c};
  for (const char32_t c : U"aé日 \n\u0301") {
    EXPECT_FALSE(is_punctuation(c) || is_symbol(c) || is_number(c)) << std::uint32_t{c};
  }
}

}  // namespace
}  // namespace rapt
