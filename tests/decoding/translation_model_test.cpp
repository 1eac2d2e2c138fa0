// Translating into the language that is asked for.
#include "decoding/translation_model.h"

#include <gtest/gtest.h>

#include "families/tiny_models.h"

namespace rapt::decoding {
namespace {

using Ids = std::vector<std::int32_t>;

class LanguageChoice : public testing::TestWithParam<const char*> {
 protected:
  LanguageChoice() { put_tiny_model(GetParam(), directory_); }

  /// The ids of the best translation of "a b".
  static Ids translate(TranslationModel& model, const TranslateOptions& options = {}) {
    return model.translate(std::vector<std::string>{"a b"}, options)[0][0].hypotheses[0].tokens;
  }
  static std::int32_t id_of(const TranslationModel& model, std::string_view piece) {
    return find_piece(model.tokenizer(), {piece}).value();
  }

  Scratch scratch_;
  std::filesystem::path directory_ = scratch_ / "model";
};

TEST(GgufTranslation, OneFileTranslates) {
  TranslationModel model(std::filesystem::path(RAPT_TEST_DATA) / "gguf" / "t5-tiny.gguf", {.threads = 1});
  const Ids source = model.encode_source("b  a");
  EXPECT_EQ(source, (Ids{31, 30, 1})) << "words begin with U+2581, and </s> ends a text";
  Context ctx({.threads = 1});
  const auto expected = decoding::translate(ctx, model.model(), std::vector<Ids>{source}, {})[0][0];
  const auto parts = model.translate(std::vector<std::string>{"b  a"}, {});
  EXPECT_EQ(parts[0][0].hypotheses[0].tokens, expected.tokens);
  EXPECT_EQ(model.join(parts[0], {})[0].text, model.tokenizer().decode(expected.tokens));
}

TEST(GgufTranslation, AnEncoderAloneIsRefusedWithAdvice) {
  try {
    const TranslationModel model(std::filesystem::path(RAPT_TEST_DATA) / "gguf" / "t5encoder-tiny.gguf", {});
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a t5 model does not translate; use rapt embed"), std::string::npos);
  }
}

TEST_P(LanguageChoice, TranslationsBeginWithTheTargetLanguage) {
  TranslationModel plain(directory_, {.threads = 1});
  TranslationModel model(directory_, {.threads = 1, .source_language = "de_DE", .target_language = "en_XX"});
  const std::int32_t de = id_of(model, "de_DE"), en = id_of(model, "en_XX");
  Ids source = plain.encode_source("a b");
  ASSERT_EQ(source.front(), en);  // as the tokenizer's file says
  source.front() = de;
  EXPECT_EQ(model.encode_source("a b"), source);
  EXPECT_EQ(model.encode_target("a b").front(), en);

  // What transformers does with forced_bos_token_id: the first token written, at no cost.
  Context ctx({.threads = 1});
  const auto expected = decoding::translate(ctx, model.model(), std::vector<Ids>{source}, {.forced_bos = en})[0][0];
  ASSERT_EQ(expected.tokens.front(), en);
  EXPECT_EQ(expected.log_probabilities.front(), 0);
  EXPECT_EQ(translate(model), expected.tokens);
  const Ids prefixed = translate(model, {.prefix = "c"});
  EXPECT_EQ(prefixed.front(), en);
  EXPECT_EQ(prefixed[1], model.tokenizer().encode("c", {.special_tokens = false})[0]);
}

TEST_P(LanguageChoice, GenerationConfigForcesTheFirstToken) {
  TranslationModel plain(directory_, {.threads = 1});
  const std::int32_t de = id_of(plain, "de_DE");
  auto config = OrderedJson::parse(get(directory_ / "generation_config.json"));
  config["forced_bos_token_id"] = de;
  put(directory_ / "generation_config.json", json_text(config));
  TranslationModel forced(directory_, {.threads = 1});
  EXPECT_EQ(translate(forced).front(), de);
  TranslationModel chosen(directory_, {.threads = 1, .target_language = "en_XX"});
  EXPECT_EQ(translate(chosen).front(), id_of(plain, "en_XX"));
}

TEST_P(LanguageChoice, NamesLanguagesThatTheTokenizerDoesNotHave) {
  EXPECT_TRUE(refuses([&] { TranslationModel(directory_, {.target_language = "xx"}); },
                      "--target-language xx: the tokenizer has no such language"));
  EXPECT_TRUE(refuses([&] { TranslationModel(directory_, {.source_language = "xx"}); }, "--source-language xx"));
}

/// A line of one endless word is cut, which is said before the work, and the work tells how far it has got.
TEST_P(LanguageChoice, TellsOfPartsAndProgress) {
  TranslationModel model(directory_, {.threads = 1});
  const std::vector<std::string> lines{"a b", std::string(3000, 'a'), ""};
  std::size_t parts = 0;
  std::vector<double> told;
  const TranslationObserver observer{.on_parts =
                                         [&](std::size_t line, std::size_t count) {
                                           EXPECT_EQ(line, 1U);
                                           EXPECT_TRUE(told.empty());
                                           parts = count;
                                         },
                                     .on_progress = [&](double part) { told.push_back(part); }};
  const auto translated = model.translate(lines, {.beam = 2, .batch_tokens = 200}, observer);
  EXPECT_GT(parts, 3U);
  EXPECT_EQ(translated[1].size(), parts);
  ASSERT_GT(told.size(), parts);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_GE(told.front(), 0);
  EXPECT_LE(told.back(), 1);
  EXPECT_GT(told.back(), 0.5);
}

INSTANTIATE_TEST_SUITE_P(, LanguageChoice, testing::Values("mbart-tiny", "m2m_100-tiny"), [](const auto& parameter) {
  std::string name = parameter.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(TranslationModel, MarksNoTextWhereTheTokenizerDoesNot) {
  const Scratch scratch;
  put_tiny_model("t5-tiny", scratch / "model");
  EXPECT_TRUE(refuses([&] { TranslationModel(scratch / "model", {.target_language = "en_XX"}); },
                      "its tokenizer marks no text with a language"));
}

TEST(TranslationModel, LanguagesBehindTheTextBeginTheDecoder) {
  const Scratch scratch;
  put_tiny_model("mbart-tiny", scratch / "model");
  // The first mBART: "$A </s> en_XX".
  const auto file = scratch / "model" / "tokenizer.json";
  auto json = OrderedJson::parse(get(file));
  auto& single = json["post_processor"]["single"];
  std::ranges::rotate(single, single.begin() + 1);
  json["post_processor"]["pair"] = single;
  json["post_processor"]["pair"].push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  put(file, json_text(json));
  TranslationModel model(scratch / "model", {.threads = 1, .target_language = "de_DE"});
  const std::int32_t de = find_piece(model.tokenizer(), {"de_DE"}).value();
  EXPECT_EQ(model.decoder_start(), de);
  EXPECT_EQ(model.encode_target("a").back(), de);
  Context ctx({.threads = 1});
  const auto expected = decoding::translate(ctx, model.model(), std::vector<Ids>{model.encode_source("a b")},
                                            {.decoder_start = de})[0][0];
  EXPECT_EQ(model.translate(std::vector<std::string>{"a b"}, {})[0][0].hypotheses[0].tokens, expected.tokens);
}

}  // namespace
}  // namespace rapt::decoding
