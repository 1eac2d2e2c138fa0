#include "decoding/language_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "decoding/tiny_language_model.h"
#include "families/gguf_models.h"
#include "text/utf8.h"

namespace rapt::decoding {
namespace {

class LanguageModelTest : public testing::Test {
 protected:
  LanguageModelTest() { write_tiny_language_model(path_); }
  GeneratedText one(const std::string& prompt, const GenerateOptions& options, const OnText& on_text = {}) {
    return std::move(LanguageModel(path_, {.threads = 1}).generate(std::span(&prompt, 1), options, on_text)[0][0]);
  }
  /// The texts of the tokens, joined.
  static std::string joined(const GeneratedText& text) {
    std::string all;
    for (const GeneratedToken& token : text.tokens) all += token.text;
    return all;
  }

  Scratch scratch_;
  std::filesystem::path path_ = scratch_ / "model";
};

void expect_same(const GeneratedText& a, const GeneratedText& b) {
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.finish, b.finish);
  EXPECT_EQ(a.log_probability, b.log_probability);
  EXPECT_EQ(a.score, b.score);
  ASSERT_EQ(a.tokens.size(), b.tokens.size());
  for (std::size_t i = 0; i < a.tokens.size(); ++i) {
    EXPECT_EQ(a.tokens[i].id, b.tokens[i].id);
    EXPECT_EQ(a.tokens[i].text, b.tokens[i].text);
  }
}

TEST_F(LanguageModelTest, ATextIsTheSameAloneAndForAnyThreadsAndBatches) {
  const std::vector<std::string> prompts{"the", "another one, a little longer", "x", "in the end\n"};
  for (GenerateOptions options :
       {GenerateOptions{.max_tokens = 20, .samples = 3, .log_probabilities = true},
        GenerateOptions{.max_tokens = 20, .sampling = {.temperature = 0}},
        GenerateOptions{.max_tokens = 20, .sampling = {.top_k = 5, .min_p = 0.1}, .stop = {"e"}},
        GenerateOptions{.max_tokens = 12, .beam = 3, .nbest = 2}}) {
    LanguageModel two(path_, {.threads = 2});
    const auto together = two.generate(prompts, options);
    options.batch_tokens = 60;
    LanguageModel model(path_, {.threads = 1});
    const auto in_parts = model.generate(prompts, options);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      options.stream = i * static_cast<std::size_t>(options.samples);
      const auto alone = model.generate(std::span(&prompts[i], 1), options)[0];
      ASSERT_EQ(alone.size(), together[i].size());
      for (std::size_t n = 0; n < alone.size(); ++n) {
        expect_same(alone[n], together[i][n]);
        expect_same(alone[n], in_parts[i][n]);
      }
    }
  }
}

TEST_F(LanguageModelTest, TheTextsOfTheTokensAreTheText) {
  for (const int beam : {0, 4}) {
    const GenerateOptions options{
        .max_tokens = 60, .seed = 4, .beam = beam, .prefix = " an", .log_probabilities = true};
    const GeneratedText text = one("the", options);
    EXPECT_EQ(text.text, " an" + joined(text));
    double sum = 0;
    for (const GeneratedToken& token : text.tokens) {
      EXPECT_LT(token.log_probability, 0);
      sum += token.log_probability;
    }
    EXPECT_NEAR(text.log_probability, sum, 1e-9);
    EXPECT_EQ(text.prompt_tokens, 3);
    EXPECT_EQ(text.finish == FinishReason::end, text.tokens.back().id == end_token);
  }
}

/// Every part of a text as its stop: the text ends before it, and what was shown until then is a part of that.
TEST_F(LanguageModelTest, AStopStringEndsTheTextWhereverItBegins) {
  GenerateOptions options{.max_tokens = 40, .seed = 3};
  const std::string whole = one("the", options).text;
  ASSERT_GT(whole.size(), 15U);
  for (std::size_t begin = 0; begin + 4 <= whole.size(); begin += 3) {
    for (const std::size_t size : {1, 2, 4}) {
      const std::string stop = whole.substr(begin, size);
      if (complete_utf8_prefix(stop) != stop.size() || first_invalid_utf8(stop) != std::string::npos) continue;
      options.stop = {stop, "not in the text"};
      std::string shown;
      const GeneratedText text = one("the", options, [&](auto, auto, std::string_view more) {
        shown += more;
        return true;
      });
      EXPECT_EQ(text.text, whole.substr(0, whole.find(stop)));
      EXPECT_EQ(shown, text.text);
      EXPECT_EQ(joined(text), text.text);
      EXPECT_EQ(text.finish, FinishReason::stop);
    }
  }
}

TEST_F(LanguageModelTest, BeamsEndAtStopStringsToo) {
  const GenerateOptions options{.max_tokens = 30, .beam = 4, .nbest = 4, .stop = {"e", "a", "o"}};
  LanguageModel model(path_, {.threads = 2});
  const std::string prompt = "the";
  int stopped = 0;
  for (const auto& texts : model.generate(std::span(&prompt, 1), options)) {
    ASSERT_EQ(texts.size(), 4U);
    EXPECT_TRUE(std::ranges::is_sorted(texts, std::ranges::greater(), &GeneratedText::score));
    for (const GeneratedText& text : texts) {
      EXPECT_EQ(text.text.find_first_of("eao"), std::string::npos);
      stopped += text.finish == FinishReason::stop;
    }
  }
  EXPECT_GT(stopped, 0);
}

TEST_F(LanguageModelTest, TheNameOfATokenIsAStopToo) {
  GenerateOptions options{.max_tokens = 200, .seed = 2};
  std::vector<GeneratedToken> tokens = one("the", options).tokens;
  const auto special = std::ranges::find(tokens, user_token, &GeneratedToken::id);
  ASSERT_NE(special, tokens.end()) << "choose another seed";
  options.stop = {"<|user|>"};
  const GeneratedText text = one("the", options);
  EXPECT_EQ(text.finish, FinishReason::end);
  EXPECT_EQ(std::ssize(text.tokens), special - tokens.begin() + 1);
}

/// A text and its parts as they come are whole characters, and the parts are the text.
void expect_whole_characters(const GeneratedText& text, const std::string& shown, const std::string& expected) {
  EXPECT_EQ(text.text, expected);
  EXPECT_EQ(shown, expected);
  std::string all;
  for (const GeneratedToken& token : text.tokens) {
    EXPECT_EQ(first_invalid_utf8(token.text), std::string::npos);
    all += token.text;
  }
  EXPECT_EQ(all, expected);
}

class ByteModelTest : public LanguageModelTest {
 protected:
  /// What a greedy model of bytes that go round in a circle writes after the last of them.
  void expect_text(const std::string& cycle, GenerateOptions options, const std::string& expected,
                   FinishReason finish) {
    std::filesystem::remove_all(path_);
    write_tiny_language_model(path_, {.every_byte = true, .cycle = cycle});
    options.sampling.temperature = 0;
    std::string shown;
    const GeneratedText text = one(cycle.substr(cycle.size() - 1), options, [&](auto, auto, std::string_view more) {
      EXPECT_EQ(first_invalid_utf8(more), std::string::npos);
      shown += more;
      return true;
    });
    expect_whole_characters(text, shown, expected);
    EXPECT_EQ(text.finish, finish);
    options.beam = 2;
    options.sampling = {};
    const GeneratedText found = one(cycle.substr(cycle.size() - 1), options);
    expect_whole_characters(found, expected, expected);
    EXPECT_EQ(found.finish, finish);
  }
};

TEST_F(ByteModelTest, T5_MaxTokensMayCutACharacter) {
  const std::string cycle = "a\U0001F9A9b";
  const std::string twice = cycle + cycle;
  for (int tokens = 1; tokens <= 12; ++tokens) {
    const std::string bytes = twice.substr(0, static_cast<std::size_t>(tokens));
    expect_text(cycle, {.max_tokens = tokens}, replace_invalid_utf8(bytes), FinishReason::length);
  }
}

TEST_F(ByteModelTest, T5_AStopStringMayBeACharacterInParts) {
  const std::string cycle = "a\U0001F9A9b";
  expect_text(cycle, {.stop = {"\U0001F9A9"}}, "a", FinishReason::stop);
  expect_text(cycle, {.stop = {"\U0001F9AA", "b"}}, "a\U0001F9A9", FinishReason::stop);
  expect_text(cycle, {.stop = {"\U0001F9A9ba\U0001F9A9"}}, "a", FinishReason::stop);
  expect_text(cycle, {.max_tokens = 10, .stop = {"\U0001F9A9ba\U0001F9A9"}}, "a\U0001F9A9ba\uFFFD",
              FinishReason::length);
}

TEST_F(ByteModelTest, T5_BytesThatAreNoCharacterAreShownAsUFFFD) {
  const std::string cycle =
      "a\xF0\x9F\xA6\xC3\xFF"
      "b";
  const std::string shown = "a\uFFFD\uFFFD\uFFFDb";
  expect_text(cycle, {.max_tokens = 7}, shown, FinishReason::length);
  expect_text(cycle, {.stop = {"b"}}, shown.substr(0, shown.size() - 1), FinishReason::stop);
  expect_text(cycle, {.stop = {"\uFFFD\uFFFD"}}, "a", FinishReason::stop);
  expect_text(cycle, {.max_tokens = 4}, "a\uFFFD", FinishReason::length);
}

TEST_F(ByteModelTest, T5_RandomBytesAreShownAsWholeCharacters) {
  std::filesystem::remove_all(path_);
  write_tiny_language_model(path_, {.every_byte = true});
  LanguageModel model(path_, {.threads = 1});
  const std::vector<std::string> prompts{"the", "\U0001F9A9"};
  std::vector<std::string> shown(60);
  const auto texts = model.generate(prompts, {.max_tokens = 50, .samples = 30, .stop = {"\uFFFDe", "\u00e9"}},
                                    [&](std::size_t prompt, std::size_t sample, std::string_view more) {
                                      EXPECT_EQ(first_invalid_utf8(more), std::string::npos);
                                      shown[30 * prompt + sample] += more;
                                      return true;
                                    });
  std::size_t with_replacement = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const GeneratedText& text = texts[i / 30][i % 30];
    expect_whole_characters(text, shown[i], text.text);
    with_replacement += text.text.find("\uFFFD") != std::string::npos;
  }
  EXPECT_GT(with_replacement, 50U);
}

TEST_F(LanguageModelTest, TellsWhyATextEnds) {
  EXPECT_EQ(one("the", {.max_tokens = 3, .sampling = {.top_k = 1}}).finish, FinishReason::length);
  const auto enough = [](auto, auto, std::string_view) { return false; };
  EXPECT_EQ(one("the", {.max_tokens = 30, .seed = 3}, enough).finish, FinishReason::cancelled);
}

TEST_F(LanguageModelTest, DoesWhatTheModelsFilesSayUnlessToldOtherwise) {
  const GenerateOptions plain{.max_tokens = 30, .seed = 7};
  const std::string drawn = one("the", plain).text;
  const std::string greedy = one("the", {.max_tokens = 30, .sampling = {.temperature = 0}}).text;
  const std::string cold = one("the", {.max_tokens = 30, .sampling = {.temperature = 0.5, .top_k = 4}, .seed = 7}).text;
  ASSERT_NE(drawn, greedy);
  ASSERT_NE(drawn, cold);
  put(path_ / "generation_config.json", R"({"do_sample": false, "eos_token_id": [0]})");
  EXPECT_EQ(one("the", plain).text, greedy);
  GenerateOptions hot = plain;
  hot.sampling.temperature = 1;
  EXPECT_EQ(one("the", hot).text, drawn);
  put(path_ / "generation_config.json", R"({"do_sample": true, "temperature": 0.5, "top_k": 4})");
  EXPECT_EQ(one("the", plain).text, cold);
}

TEST_F(LanguageModelTest, TellsWhatItDoesNotDo) {
  put(path_ / "generation_config.json",
      R"({"eos_token_id": [0, 5], "no_repeat_ngram_size": 3, "typical_p": 1.0, "penalty_alpha": null, "max_length": 9,
          "suppress_tokens": [], "bad_words_ids": [[3]]})");
  const GenerationConfig config = read_generation_config(path_);
  EXPECT_EQ(config.ignored, (std::vector<std::string>{"bad_words_ids", "no_repeat_ngram_size"}));
  EXPECT_EQ(config.end, (std::vector<std::int32_t>{0, 5}));
  EXPECT_EQ(LanguageModel(path_, {}).end_tokens(), (std::vector<std::int32_t>{0, 5}));
  put(path_ / "generation_config.json", R"({"top_p": 2})");
  EXPECT_TRUE(refuses([&] { read_generation_config(path_); }, "generation_config.json", "top_p"));
  put(path_ / "generation_config.json", R"({"eos_token_id": 900})");
  EXPECT_TRUE(refuses([&] { LanguageModel(path_, {}); }, "the token 900 that ends texts"));
}

TEST_F(LanguageModelTest, OfAGgufFileTakesWhatItSaysOfSampling) {
  const std::filesystem::path file = path_ / "model.gguf";
  put_gguf_model(
      "llama-tiny", file, DType::f32,
      {gguf_f32("general.sampling.temp", 0.6F), gguf_f32("general.sampling.top_p", 0.95F),
       gguf_f32("general.sampling.min_p", 0.05F), gguf_key("general.sampling.top_k", GgufType::i32, raw(20)),
       gguf_f32("general.sampling.penalty_repeat", 1.1F), gguf_f32("general.sampling.xtc_probability", 0),
       gguf_string("general.sampling.sequence", "top_k;temperature"), gguf_u32("tokenizer.ggml.eot_token_id", 7)});
  const GenerationConfig config = read_generation_config(file);
  EXPECT_EQ(config.sampling.temperature, 0.6);
  EXPECT_EQ(config.sampling.top_k, 20);
  EXPECT_EQ(config.sampling.top_p, 0.95);
  EXPECT_EQ(config.sampling.min_p, 0.05);
  EXPECT_EQ(config.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(config.ignored, std::vector<std::string>{"sequence"});
  EXPECT_EQ(LanguageModel(file, {}).end_tokens(), (std::vector<std::int32_t>{0, 7}));
  put_gguf_model("llama-tiny", file, DType::f32, {gguf_f32("general.sampling.top_p", 2)});
  EXPECT_TRUE(refuses([&] { read_generation_config(file); }, "model.gguf", "top_p"));
}

TEST_F(LanguageModelTest, OptionsThatMakeNoSenseAreErrorsThatNameThem) {
  EXPECT_TRUE(refuses([&] { one("the", {.max_tokens = 0}); }, "max_tokens:"));
  EXPECT_TRUE(refuses([&] { one("the", {.samples = 0}); }, "samples:"));
  EXPECT_TRUE(refuses([&] { one("the", {.samples = 2, .beam = 2}); }, "samples:"));
  EXPECT_TRUE(refuses([&] { one("the", {.nbest = 2}); }, "nbest:"));
  EXPECT_TRUE(refuses([&] { one("the", {.stop = {""}}); }, "stop string is empty"));
  EXPECT_TRUE(refuses([&] { one("\xff", {}); }, "the prompt", "UTF-8"));
  EXPECT_TRUE(refuses([&] { one("", {}); }, "the prompt is empty"));
  EXPECT_TRUE(refuses([&] { one("the", {.sampling = {.top_p = 2}}); }, "top_p:"));
}

}  // namespace
}  // namespace rapt::decoding
