#include "text/words.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/scratch.h"
#include "text/helpers.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (const TextSpan& word : find_words(text)) words.push_back(text.substr(word.begin, word.end - word.begin));
  return words;
}

using Strings = std::vector<std::string>;

TEST(FindWords, CutsWhereAPersonWould) {
  EXPECT_EQ(words_of("The river's bank; don’t!"), (Strings{"The", "river's", "bank", "don’t"}));
  EXPECT_EQ(words_of("'quoted' rock 'n' roll''s the_beach 3.14"),
            (Strings{"quoted", "rock", "n", "roll", "s", "the_beach", "3", "14"}));
  EXPECT_EQ(words_of("日本語 e\u0301té, Κόσμος"), (Strings{"日本語", "e\u0301té", "Κόσμος"}));
  EXPECT_EQ(words_of(" .,; "), Strings());
  EXPECT_EQ(words_of(""), Strings());
}

/// Against the offsets of Hugging Face's library, for tokenizers of every style: script/goldens/words.py.
TEST(TokenSpans, AreThoseOfTheTokenizersLibrary) {
  const nlohmann::json golden = nlohmann::json::parse(get(data / "words.json"));
  const auto texts = golden["texts"].get<Strings>();
  ASSERT_GT(golden["tokens"].size(), 15u);
  for (const auto& [name, expected] : golden["tokens"].items()) {
    // The pieces spell out "</w>", as no model that rapt loads has them.
    if (name == "word-suffixes") continue;
    const auto tokenizer = load_tokenizer(data / "text/pipeline" / name);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      // The library gives each byte of a run of unknown characters the place of the whole run.
      if (name == "unigram-bytes" && texts[i].starts_with("日本語")) continue;
      const std::vector<TextSpan> spans =
          token_spans(*tokenizer, tokenizer->encode(texts[i], {.special_tokens = false}), texts[i]);
      const auto found = tokens_of_words(find_words(texts[i]), spans);
      EXPECT_EQ(nlohmann::json(found), expected[i]) << name << ": " << texts[i];
    }
  }
}

TEST(TokenSpans, T4_OfALongTextTakeLinearTime) {
  for (const char* style : {"bert-uncased", "gpt2", "albert"}) {
    const auto tokenizer = load_tokenizer(data / "text/pipeline" / style);
    for (const char* unit : {"שלום עולם ", "the way ", "☃", "a☃ ", "\u0301", "👨‍👩‍👧 "}) {
      const auto time = [&](std::size_t bytes) {
        const std::string text = test::repeated(unit, bytes);
        const auto ids = tokenizer->encode(text, {.special_tokens = false});
        return test::seconds([&] { tokens_of_words(find_words(text), token_spans(*tokenizer, ids, text)); });
      };
      const double small = time(16'000), large = time(64'000);
      EXPECT_LT(large, 8 * small + 0.1) << style << " " << unit;
    }
  }
}

}  // namespace
}  // namespace rapt
