#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "text/character_tokenizer.h"
#include "text/helpers.h"
#include "text/marian_tokenizer.h"
#include "text/sentencepiece_trainer.h"

namespace rapt {
namespace {

using Lines = std::vector<std::string>;

const Lines kEnglish{"a man sits on the mat .", "the dog runs , the cat sleeps !", "two women don't run .",
                     "3.5 % more"};
const Lines kGerman{"ein Mann sitzt auf der Matte .", "der Hund läuft , die Katze schläft !", "zwei Frauen – nicht ."};

Lines both(Lines lines, const Lines& more) {
  lines.insert(lines.end(), more.begin(), more.end());
  return lines;
}

Lines texts() {
  Lines result = both(kEnglish, kGerman);
  const nlohmann::json golden = test::golden("bleu-tokenization.json")["lines"];
  for (const auto& line : golden) result.push_back(line);
  return result;
}

/// Writes tokenizers, what they make of some texts, and checks that rapt reads them back. script/goldens/text.py names
/// the directory to write to in RAPT_TOKENIZERS and loads what it finds there with transformers.
class TokenizersForPeers : public testing::Test {
 protected:
  void write(const std::string& name, const Tokenizer& tokenizer, const Lines& inputs) {
    const char* chosen = std::getenv("RAPT_TOKENIZERS");
    const std::filesystem::path directory = (chosen ? std::filesystem::path(chosen) : temporary_.path()) / name;
    std::filesystem::create_directory(directory);
    tokenizer.write(directory);
    const std::unique_ptr<Tokenizer> read = load_tokenizer(directory);
    EXPECT_EQ(read->files(), tokenizer.files());
    nlohmann::json expected{{"vocab_size", tokenizer.vocab_size()}, {"texts", nlohmann::json::array()}};
    for (const std::string& text : inputs) {
      const auto ids = tokenizer.encode(text);
      const auto target = tokenizer.target().encode(text);
      EXPECT_EQ(read->encode(text), ids);
      EXPECT_EQ(read->target().encode(text), target);
      nlohmann::json& entry = expected["texts"].emplace_back(
          nlohmann::json{{"text", text}, {"ids", ids}, {"decoded", tokenizer.target().decode(target)}});
      if (&tokenizer.target() != &tokenizer) entry["target"] = target;
    }
    test::write_bytes(directory / "expected.json", expected.dump());
  }

  Scratch temporary_;
};

TEST_F(TokenizersForPeers, MarianWithOneVocabulary) {
  const Lines lines = both(kEnglish, kGerman);
  write("joint-bpe", *MarianTokenizer::joint(train_sentencepiece({.vocab_size = 90}, lines), {"en", "de", 256}),
        texts());
  const SentencePieceOptions unigram{.kind = SentencePieceKind::unigram, .vocab_size = 54, .normalization = "nfkc"};
  write("joint-unigram", *MarianTokenizer::joint(train_sentencepiece(unigram, lines)), texts());
}

TEST_F(TokenizersForPeers, MarianWithTwoVocabularies) {
  const SentencePieceOptions options{.vocab_size = 50};
  const auto tokenizer =
      MarianTokenizer::separate(train_sentencepiece(options, kEnglish), train_sentencepiece(options, kGerman));
  write("separate", *tokenizer, texts());
}

TEST_F(TokenizersForPeers, Characters) {
  std::string all;
  for (const std::string& text : texts()) all += text + "\n";
  write("characters", *CharacterTokenizer::of_text(all), both(texts(), {all}));
}

}  // namespace
}  // namespace rapt
