// Vectors of words against transformers: the tiny models and the numbers of script/goldens/words.py.
#include "rapt/word_embedder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/scratch.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

std::vector<float> vector_of(const WordVectors& vectors, const std::string& word, std::size_t layer) {
  for (std::size_t i = 0; i < vectors.words.size(); ++i) {
    if (vectors.words[i].text == word) return {vectors.vector(i, layer).begin(), vectors.vector(i, layer).end()};
  }
  throw Error("no such word: " + word);
}

class GoldenWords : public testing::TestWithParam<const char*> {};

TEST_P(GoldenWords, HaveTheVectorsOfHiddenStates) {
  const nlohmann::json golden = nlohmann::json::parse(get(data / "words.json"));
  const nlohmann::json& expected = golden["vectors"][GetParam()];
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  WordEmbedder embedder(data / GetParam());
  EXPECT_EQ(embedder.layers(), 2);
  const std::vector<WordVectors> found = embedder.embed(texts);
  ASSERT_EQ(found.size(), texts.size());
  std::size_t compared = 0;
  for (std::size_t text = 0; text < texts.size(); ++text) {
    SCOPED_TRACE(texts[text]);
    EXPECT_EQ(found[text].layers, (std::vector<int>{0, 1, 2}));
    for (std::size_t layer = 0; layer < expected[text].size(); ++layer) {
      const nlohmann::json& words = expected[text][layer];
      ASSERT_EQ(found[text].words.size(), words.size());
      for (std::size_t word = 0; word < words.size(); ++word) {
        const auto vector = found[text].vector(word, layer);
        ASSERT_EQ(vector.size(), words[word].size());
        for (std::size_t i = 0; i < vector.size(); ++i, ++compared)
          EXPECT_NEAR(vector[i], words[word][i].get<double>(), 2e-5) << "layer " << layer << " word " << word;
      }
    }
  }
  EXPECT_GT(compared, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenWords, testing::Values("embed-tiny", "words-tiny"));

TEST(WordEmbedder, TellsWhereWordsAre) {
  WordEmbedder embedder(data / "words-tiny", {.layers = {2}});
  const std::string text = "  The bank's Übergröße";
  const WordVectors vectors = embedder.embed(text);
  ASSERT_EQ(vectors.words.size(), 3u);
  for (const Word& word : vectors.words) {
    EXPECT_EQ(text.substr(word.begin, word.end - word.begin), word.text);
    EXPECT_GT(word.tokens, 0);
  }
  EXPECT_EQ(vectors.words[1].text, "bank's");
  EXPECT_EQ(vectors.layers, std::vector<int>{2});
  EXPECT_EQ(vectors.values.size(), 3u * 16u);
}

/// Without positions in the embeddings, a word enters the first block the same everywhere.
TEST(WordEmbedder, WithRotaryPositionsLayerZeroKnowsNoContext) {
  WordEmbedder embedder(data / "words-tiny");
  const std::vector<std::string> texts{"The man along the bank of the river", "rock, the bank walk"};
  const std::vector<WordVectors> vectors = embedder.embed(texts);
  EXPECT_EQ(vector_of(vectors[0], "bank", 0), vector_of(vectors[1], "bank", 0));
  EXPECT_NE(vector_of(vectors[0], "bank", 1), vector_of(vectors[1], "bank", 1));
  const std::vector<WordVectors> of_encoder = WordEmbedder(data / "embed-tiny").embed(texts);
  EXPECT_NE(vector_of(of_encoder[0], "bank", 0), vector_of(of_encoder[1], "bank", 0));
}

/// What comes after a word cannot change it in a causal model: the same bits.
TEST(WordEmbedder, InACausalModelLaterWordsChangeNothing) {
  WordEmbedder embedder(data / "words-tiny");
  const std::vector<std::string> texts{"The bank of the river", "The bank, where money is kept, and more money"};
  const std::vector<WordVectors> vectors = embedder.embed(texts);
  for (std::size_t layer = 0; layer <= 2; ++layer)
    EXPECT_EQ(vector_of(vectors[0], "bank", layer), vector_of(vectors[1], "bank", layer)) << layer;
  const std::vector<WordVectors> of_encoder = WordEmbedder(data / "embed-tiny").embed(texts);
  EXPECT_EQ(vector_of(of_encoder[0], "bank", 0), vector_of(of_encoder[1], "bank", 0));
  for (std::size_t layer = 1; layer <= 2; ++layer)
    EXPECT_NE(vector_of(of_encoder[0], "bank", layer), vector_of(of_encoder[1], "bank", layer)) << layer;
}

TEST(WordEmbedder, GivesTheSameBitsAloneAndForAnyNumberOfThreads) {
  const auto texts = nlohmann::json::parse(get(data / "words.json"))["texts"].get<std::vector<std::string>>();
  for (const char* const model : {"embed-tiny", "words-tiny"}) {
    const std::vector<WordVectors> together = WordEmbedder(data / model, {.threads = 1}).embed(texts);
    WordEmbedder others(data / model, {.threads = 3});
    for (std::size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(others.embed(texts[i]).values, together[i].values) << texts[i];
  }
}

TEST(WordEmbedder, LeavesOutWordsBehindTheLastPosition) {
  WordEmbedder embedder(data / "embed-tiny", {.layers = {2}});
  std::string text;
  for (int i = 0; i < 40; ++i) text += "dog ";
  const WordVectors vectors = embedder.embed(text);
  EXPECT_EQ(vectors.words.size(), 30u);  // of 32 positions
  EXPECT_EQ(vectors.words_left_out, 10);
}

TEST(WordEmbedder, RefusesWhatItCannotDo) {
  EXPECT_THROW(WordEmbedder(data / "embed-tiny", {.layers = {3}}), Error);
  EXPECT_THROW(WordEmbedder(data / "embed-tiny", {.layers = {-4}}), Error);
  EXPECT_THROW(WordEmbedder(data / "marian-tiny"), Error);
  EXPECT_THROW(WordEmbedder(data / "nothing"), Error);
  EXPECT_THROW(WordEmbedder(data / "embed-tiny").embed("\xff"), Error);
}

}  // namespace
}  // namespace rapt
