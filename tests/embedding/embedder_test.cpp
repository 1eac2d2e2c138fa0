// Sentence embeddings against transformers and torch: the tiny model and the numbers of script/goldens/embed.py.
#include "rapt/embedder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "embedding/sentence_encoder.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

using Vectors = std::vector<std::vector<float>>;

nlohmann::json golden() {
  return nlohmann::json::parse(get(data / "embed-tiny.json"));
}

double length_of(const std::vector<float>& vector) {
  return std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
}

void expect_near(const Vectors& found, const nlohmann::json& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].size(), expected[i].size()) << "text " << i;
    for (std::size_t j = 0; j < found[i].size(); ++j)
      EXPECT_NEAR(found[i][j], expected[i][j].get<double>(), tolerance) << "text " << i << " component " << j;
  }
}

TEST(SentenceEncoder, TellsHowFarItHasGot) {
  embedding::SentenceEncoder encoder(data / "embed-tiny", {.threads = 1});
  const std::vector<std::string> texts(1000, "Two men are walking along the beach with a dog.");
  std::vector<double> told;
  encoder.embed(texts, [&](double part) { told.push_back(part); });
  ASSERT_GT(told.size(), 1U);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_GT(told.front(), 0);
  EXPECT_EQ(told.back(), 1);
}

/// A copy of the tiny model whose files a test changes.
class EmbedderTest : public testing::Test {
 protected:
  EmbedderTest() {
    std::filesystem::copy(data / "embed-tiny", model(), std::filesystem::copy_options::recursive);
    texts_ = golden()["texts"].get<std::vector<std::string>>();
  }

  std::filesystem::path model() const { return scratch_ / "model"; }
  void write(const std::string& file, const nlohmann::json& json) const { put(model() / file, json.dump()); }
  nlohmann::json read(const std::string& file) const { return nlohmann::json::parse(get(model() / file)); }
  /// Changes one key of a file.
  void set(const std::string& file, const std::string& key, const nlohmann::json& value) const {
    nlohmann::json json = std::filesystem::exists(model() / file) ? read(file) : nlohmann::json::object();
    json[key] = value;
    write(file, json);
  }
  void write_modules(const std::vector<std::pair<std::string, std::string>>& kinds_and_paths) const {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [kind, path] : kinds_and_paths)
      list.push_back(
          {{"idx", list.size()}, {"name", "x"}, {"path", path}, {"type", "sentence_transformers.models." + kind}});
    write("modules.json", list);
  }
  Vectors embed(const EmbedderOptions& options = {}) const { return Embedder(model(), options).embed(texts_); }
  testing::AssertionResult refused(std::initializer_list<std::string_view> parts) const {
    return refuses_with([&] { Embedder embedder(model()); }, parts);
  }

  Scratch scratch_;
  std::vector<std::string> texts_;
};

TEST_F(EmbedderTest, PoolsInEveryWayAsTorchDoes) {
  const nlohmann::json expected = golden();
  const std::vector<std::pair<std::string, std::string>> names{{"cls", "cls_token"},
                                                               {"max", "max_tokens"},
                                                               {"mean", "mean_tokens"},
                                                               {"mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
                                                               {"weightedmean", "weightedmean_tokens"},
                                                               {"lasttoken", "lasttoken"}};
  for (const auto& [name, flag] : names) {
    SCOPED_TRACE(name);
    write("1_Pooling/config.json", {{"embedding_dimension", 16}, {"pooling_mode", name}});
    expect_near(embed({.normalize = false}), expected[name], 1e-5);
    write("1_Pooling/config.json",
          {{"word_embedding_dimension", 16}, {"pooling_mode_mean_tokens", false}, {"pooling_mode_" + flag, true}});
    expect_near(embed({.normalize = false}), expected[name], 1e-5);
  }
}

TEST_F(EmbedderTest, LaysPoolingsSideBySide) {
  const nlohmann::json expected = golden();
  nlohmann::json both;
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    both.push_back(expected["mean"][i]);
    for (const auto& x : expected["cls"][i]) both[i].push_back(x);
  }
  write("1_Pooling/config.json", {{"pooling_mode", {"mean", "cls"}}});
  expect_near(embed({.normalize = false}), both, 1e-5);
  EXPECT_EQ(Embedder(model()).dimensions(), 32);
}

TEST_F(EmbedderTest, AppliesDenseLayersAndNormalisation) {
  write_modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Dense", "2_Dense"}, {"Normalize", "3_Normalize"}});
  expect_near(embed(), golden()["dense"], 1e-5);
  EXPECT_EQ(Embedder(model()).dimensions(), 6);
  for (const auto& vector : embed()) EXPECT_NEAR(length_of(vector), 1, 1e-6);
  EXPECT_GT(std::abs(length_of(embed({.normalize = false})[0]) - 1), 0.01);
}

TEST_F(EmbedderTest, GgufFilesHaveTheirPoolingAndLength1) {
  const Embedder directory(model());
  Embedder file(data / "gguf" / "embed-tiny.gguf");
  EXPECT_EQ(file.dimensions(), 16);
  EXPECT_EQ(file.max_tokens(), 32) << "positions; the file does not know that sentences were cut to 30 tokens";
  nlohmann::json expected = nlohmann::json::array();
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    if (directory.tokens_left_out(texts_[i]) > 0) continue;
    const auto mean = golden()["mean"][i].get<std::vector<float>>();
    texts.push_back(texts_[i]);
    nlohmann::json& vector = expected.emplace_back();
    for (const float x : mean) vector.push_back(x / length_of(mean));
  }
  ASSERT_GT(texts.size(), 5U);
  expect_near(file.embed(texts), expected, 1e-5);
  const std::vector<float> plain = Embedder(data / "gguf" / "embed-tiny.gguf", {.normalize = false}).embed(texts[0]);
  EXPECT_NEAR(plain[0], golden()["mean"][0][0].get<double>(), 1e-5);
}

TEST_F(EmbedderTest, GgufFilesPoolAsTheirKeySays) {
  const auto with_type = [&](char type) {
    std::string bytes = get(data / "gguf" / "embed-tiny.gguf");
    const std::size_t place = bytes.find("bert.pooling_type") + 17 + 4;
    bytes[place] = type;
    put(scratch_ / "model.gguf", bytes);
    return scratch_ / "model.gguf";
  };
  const EmbedderOptions plain{.normalize = false};
  EXPECT_NEAR(Embedder(with_type(2), plain).embed(texts_[0])[0], golden()["cls"][0][0].get<double>(), 1e-5);
  EXPECT_NEAR(Embedder(with_type(3), plain).embed(texts_[0])[0], golden()["lasttoken"][0][0].get<double>(), 1e-5);
  for (const char type : {0, 4}) {
    EXPECT_TRUE(refuses_with([&] { Embedder embedder(with_type(type)); },
                             {"model.gguf", "\"bert.pooling_type\"", "1 (mean), 2 (first token) or 3 (last token)"}));
  }
}

TEST_F(EmbedderTest, NormalisesAsModulesSayOrTheCallerDoes) {
  for (const auto& vector : embed()) EXPECT_NEAR(length_of(vector), 1, 1e-6);
  write_modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}});
  expect_near(embed(), golden()["mean"], 1e-5);
  for (const auto& vector : embed({.normalize = true})) EXPECT_NEAR(length_of(vector), 1, 1e-6);
}

TEST_F(EmbedderTest, WithoutModulesTakesTheMeanOfTheTokens) {
  EXPECT_TRUE(embedding::SentenceEncoder(model(), {}).described());
  std::filesystem::remove(model() / "modules.json");
  expect_near(embed(), golden()["mean"], 1e-5);
  EXPECT_FALSE(embedding::SentenceEncoder(model(), {}).described());
}

TEST_F(EmbedderTest, ReadsTheEncoderInADirectoryOfItsOwn) {
  const Vectors before = embed();
  std::filesystem::create_directory(model() / "0_Transformer");
  for (const char* file :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"})
    std::filesystem::rename(model() / file, model() / "0_Transformer" / file);
  write_modules({{"Transformer", "0_Transformer"}, {"Pooling", "1_Pooling"}, {"Normalize", "2_Normalize"}});
  EXPECT_EQ(embed(), before);
}

TEST_F(EmbedderTest, GivesTheSameBitsAloneAndInABatchForAnyNumberOfThreads) {
  std::vector<std::string> many;
  for (int i = 0; i < 900; ++i) {
    std::string text = texts_[static_cast<std::size_t>(i) % texts_.size()];
    for (int words = 0; words < i % 13; ++words) text += " dog";
    many.push_back(text);
  }
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const Vectors together = Embedder(model(), {.threads = 2, .precision = precision}).embed(many);
    Embedder one(model(), {.threads = 1, .precision = precision});
    ASSERT_EQ(together.size(), many.size());
    for (std::size_t i = 0; i < many.size(); i += 7) ASSERT_EQ(one.embed(many[i]), together[i]) << "text " << i;
  }
}

TEST_F(EmbedderTest, ComputesInBf16) {
  const nlohmann::json expected = golden()["mean"];
  expect_near(embed({.precision = Precision::bf16, .normalize = false}), expected, 0.1);
  EXPECT_NE(embed({.precision = Precision::bf16}), embed());
}

TEST_F(EmbedderTest, CutsLongTextsBeforeTheLastSpecialToken) {
  const nlohmann::json ids = golden()["ids"];
  const embedding::SentenceEncoder encoder(model(), {});
  for (std::size_t i = 0; i < texts_.size(); ++i)
    EXPECT_EQ(encoder.tokenize(texts_[i]).ids, ids[i].get<std::vector<std::int32_t>>()) << texts_[i];
  EXPECT_EQ(Embedder(model()).max_tokens(), 24);
  EXPECT_EQ(Embedder(model()).tokens_left_out(texts_[0]), 0);
  EXPECT_EQ(Embedder(model()).tokens_left_out("a a a a a a a a a a a a a a a a a a a a a a a a a"), 3);

  std::filesystem::remove(model() / "sentence_bert_config.json");
  EXPECT_EQ(Embedder(model()).max_tokens(), 30) << "of the tokenizer";
  set("tokenizer_config.json", "model_max_length", 1e30);
  EXPECT_EQ(Embedder(model()).max_tokens(), 32) << "of the encoder";
  set("sentence_bert_config.json", "max_seq_length", 512);
  EXPECT_EQ(Embedder(model()).max_tokens(), 32) << "of the encoder";
}

TEST_F(EmbedderTest, PutsPromptsBeforeTexts) {
  const std::vector<float> expected = Embedder(model()).embed("two men are walking");
  EXPECT_EQ(Embedder(model(), {.prompt = "two men "}).embed("are walking"), expected);
  write("config_sentence_transformers.json", {{"__version__", {{"sentence_transformers", "5.7.0"}}},
                                              {"prompts", {{"query", "two men "}, {"document", ""}}},
                                              {"default_prompt_name", "query"},
                                              {"similarity_fn_name", "cosine"}});
  EXPECT_EQ(Embedder(model()).embed("are walking"), expected);
  EXPECT_EQ(Embedder(model(), {.prompt = ""}).embed("two men are walking"), expected);
  set("1_Pooling/config.json", "include_prompt", false);
  EXPECT_TRUE(refused({"include_prompt", "rapt does not support"}));
  set("config_sentence_transformers.json", "default_prompt_name", "passage");
  EXPECT_TRUE(refused({"config_sentence_transformers.json", "default_prompt_name", "passage"}));
}

TEST_F(EmbedderTest, RefusesModulesThatItDoesNotKnow) {
  write_modules({{"Transformer", ""}});
  EXPECT_TRUE(refused({"modules.json", "no Pooling"}));
  write_modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"LSTM", "2_LSTM"}});
  EXPECT_TRUE(refused({"modules.json, module 2", "sentence_transformers.models.LSTM", "Dense and Normalize"}));
  write_modules({{"Pooling", "1_Pooling"}, {"Transformer", ""}});
  EXPECT_TRUE(refused({"modules.json, module 0", "Transformer, then Pooling"}));
  write_modules({{"Transformer", ""}, {"Pooling", "../1_Pooling"}});
  EXPECT_TRUE(refused({"\"path\"", "../1_Pooling"}));
  write_modules({{"Transformer", ""}, {"Pooling", "1_Nothing"}});
  EXPECT_TRUE(refused({"1_Nothing"}));
  put(model() / "modules.json", "[]");
  EXPECT_TRUE(refused({"modules.json", "expected a list of modules"}));
  put(model() / "modules.json", R"([{"type": "custom.Transformer"}])");
  EXPECT_TRUE(refused({"custom.Transformer", "a class of sentence_transformers"}));
  put(model() / "modules.json", R"([{"type": "sentence_transformers.models.Transformer", "kwargs": {"task": "x"}}])");
  EXPECT_TRUE(refused({"kwargs"}));
}

TEST_F(EmbedderTest, RefusesSettingsThatItDoesNotKnow) {
  set("1_Pooling/config.json", "pooling_mode_median", true);
  EXPECT_TRUE(refused({"1_Pooling/config.json", "pooling_mode_median"}));
  write("1_Pooling/config.json", {{"pooling_mode", "median"}});
  EXPECT_TRUE(refused({"1_Pooling/config.json", "\"pooling_mode\"", "median", "weightedmean"}));
  write("1_Pooling/config.json", {{"word_embedding_dimension", 17}});
  EXPECT_TRUE(refused({"17", "16"}));
  write("1_Pooling/config.json", nlohmann::json::object());
  set("sentence_bert_config.json", "query_expansion", true);
  EXPECT_TRUE(refused({"sentence_bert_config.json", "query_expansion"}));
  write("sentence_bert_config.json", {{"max_seq_length", 1}});
  EXPECT_TRUE(refused({"at most 1 tokens"}));
  write("sentence_bert_config.json", {{"do_lower_case", true}});
  Embedder lower_cases_anyway(model());
  nlohmann::json tokenizer = read("tokenizer.json");
  tokenizer["normalizer"]["lowercase"] = false;
  write("tokenizer.json", tokenizer);
  set("tokenizer_config.json", "do_lower_case", false);
  EXPECT_TRUE(refused({"do_lower_case"}));
}

TEST_F(EmbedderTest, RefusesDenseLayersThatDoNotFit) {
  write_modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Dense", "2_Dense"}, {"Dense", "2_Dense"}});
  EXPECT_TRUE(refused({"takes 16 numbers", "gives 6"}));
  write_modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Dense", "2_Dense"}});
  set("2_Dense/config.json", "bias", false);
  EXPECT_TRUE(refused({"2_Dense", "linear.bias", "no use"}));
  set("2_Dense/config.json", "bias", true);
  set("2_Dense/config.json", "out_features", 7);
  EXPECT_TRUE(refused({"linear.weight", "[6, 16]", "[7, 16]"}));
  set("2_Dense/config.json", "out_features", 6);
  set("2_Dense/config.json", "activation_function", "torch.nn.modules.activation.Mish");
  EXPECT_TRUE(refused({"activation_function", "Mish"}));
}

TEST_F(EmbedderTest, RefusesModelsThatAreNoEncoders) {
  EXPECT_TRUE(
      refuses([] { Embedder embedder(data / "gpt2-tiny"); }, "gpt2-tiny", "gpt2 model continues texts", "BERT"));
  EXPECT_TRUE(refuses([] { Embedder embedder(data / "marian-tiny"); }, "marian-tiny", "translates"));
}

TEST_F(EmbedderTest, RefusesTextThatIsNotUtf8) {
  EXPECT_TRUE(refuses([&] { Embedder(model()).embed("a\xff"); }, "UTF-8"));
}

TEST_F(EmbedderTest, NoTextsGiveNoVectors) {
  EXPECT_TRUE(Embedder(model()).embed(std::vector<std::string>()).empty());
}

}  // namespace
}  // namespace rapt
