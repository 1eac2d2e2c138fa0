#include "text/character_tokenizer.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/random.h"
#include "text/helpers.h"
#include "text/utf8.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(CharacterTokenizer, HasTheIdsAndFilesOfTheTokenizersLibrary) {
  const nlohmann::json golden = test::golden("character.json");
  const auto text = golden["text"].get<std::string>();
  const auto made = CharacterTokenizer::of_text(text);
  EXPECT_EQ(made->encode(text), golden["ids"].get<Ids>());
  EXPECT_EQ(made->files().at("tokenizer.json"), test::read_bytes(test::kData / "character" / "tokenizer.json") + "\n");
  const std::unique_ptr<Tokenizer> read = load_tokenizer(test::kData / "character");
  EXPECT_EQ(read->encode(text), golden["ids"].get<Ids>());
  EXPECT_EQ(read->decode(golden["ids"].get<Ids>()), text);
  EXPECT_EQ(read->pieces(), made->pieces());
}

TEST(CharacterTokenizer, SortsTheCharactersAndHasNoOthers) {
  const auto tokenizer = CharacterTokenizer::of_text("beé\nb 日a");
  EXPECT_EQ(tokenizer->pieces(), (std::vector<std::string>{"\n", " ", "a", "b", "e", "é", "日"}));
  EXPECT_FALSE(tokenizer->special().eos || tokenizer->special().pad || tokenizer->special().unk);
  EXPECT_EQ(tokenizer->display(5).text, "é");
  EXPECT_EQ(&tokenizer->target(), tokenizer.get());
}

TEST(CharacterTokenizer, GivesBackEveryTextOfItsCharacters) {
  RandomSequence random(5);
  for (int round = 0; round < 50; ++round) {
    std::string text;
    for (int i = 0; i < 200; ++i) {
      const auto code_point = static_cast<char32_t>(random.below(0x110000) >> random.below(17));
      if (code_point < 0xD800 || code_point > 0xDFFF) append_utf8(text, code_point);
    }
    const Scratch directory;
    const auto tokenizer = CharacterTokenizer::of_text(text);
    tokenizer->write(directory.path());
    const std::unique_ptr<Tokenizer> read = load_tokenizer(directory.path());
    ASSERT_EQ(read->files(), tokenizer->files());
    ASSERT_EQ(read->encode(text), tokenizer->encode(text));
    ASSERT_EQ(read->decode(tokenizer->encode(text)), text);
  }
}

TEST(CharacterTokenizer, RefusesWhatItCannotExpress) {
  EXPECT_TRUE(test::contains(test::error_of([] { CharacterTokenizer::of_text(""); }), "empty"));
  EXPECT_TRUE(test::contains(test::error_of([] { CharacterTokenizer::of_text("a\xFF"); }), "byte 1"));
  const auto tokenizer = CharacterTokenizer::of_text("abc");
  EXPECT_EQ(test::error_of([&] { tokenizer->encode("abécd"); }),
            "the character \"é\" (U+00E9) at byte 2 is not among the 3 that the model knows");
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->encode("ab\xC3"); }), "not valid UTF-8"));
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->decode(Ids{0, 3}); }), "3 is not in the vocabulary"));
}

/// Reads the golden tokenizer.json with the value at a JSON pointer changed.
std::string error_with(const std::string& pointer, const nlohmann::json& value) {
  const Scratch directory;
  nlohmann::json json = nlohmann::json::parse(test::read_bytes(test::kData / "character" / "tokenizer.json"));
  json[nlohmann::json::json_pointer(pointer)] = value;
  test::write_bytes(directory.path() / "tokenizer.json", json.dump());
  return test::error_of([&] { CharacterTokenizer::read(directory.path()); });
}

TEST(CharacterTokenizer, RefusesOtherKindsOfTokenizersByName) {
  EXPECT_TRUE(
      test::contains(error_with("/model/type", "BPE"), "\"model.type\": expected \"WordLevel\", found \"BPE\""));
  EXPECT_TRUE(test::contains(error_with("/normalizer", {{"type", "NFC"}}), "\"normalizer\""));
  EXPECT_TRUE(test::contains(error_with("/pre_tokenizer", {{"type", "ByteLevel"}}), "\"pre_tokenizer\""));
  EXPECT_TRUE(test::contains(error_with("/pre_tokenizer/pattern/Regex", "(a+)+$"), "\"pre_tokenizer\""));
  EXPECT_TRUE(test::contains(error_with("/decoder", nullptr), "\"decoder\""));
  EXPECT_TRUE(test::contains(error_with("/post_processor", {{"type", "BertProcessing"}}), "\"post_processor\""));
  EXPECT_TRUE(test::contains(error_with("/added_tokens", {{{"id", 3}}}), "\"added_tokens\""));
  EXPECT_TRUE(test::contains(error_with("/truncation", {{"max_length", 3}}), "\"truncation\""));
  EXPECT_TRUE(test::contains(error_with("/model/vocab/ab", 3), "\"ab\" is not a single character"));
  EXPECT_TRUE(test::contains(error_with("/model/vocab/a", 300), "\"a\" has the id 300"));
  EXPECT_TRUE(test::contains(error_with("/model/vocab/a", 0), "has the id 0"));
  EXPECT_TRUE(test::contains(error_with("/model/unk_token", "a"), "\"model.unk_token\""));
  EXPECT_TRUE(test::contains(error_with("/model/extra", 1), "model.extra"));
  EXPECT_TRUE(test::contains(error_with("/extra", 1), "extra"));
}

TEST(CharacterTokenizer, RefusesSettingsThatChangeTheText) {
  const Scratch directory;
  CharacterTokenizer::of_text("abc")->write(directory.path());
  const auto error = [&](const std::string& config) {
    test::write_bytes(directory.path() / "tokenizer_config.json", config);
    return test::error_of([&] { load_tokenizer(directory.path()); });
  };
  EXPECT_TRUE(test::contains(error(R"({"clean_up_tokenization_spaces": true})"), "clean_up_tokenization_spaces"));
  EXPECT_TRUE(test::contains(error(R"({"eos_token": "a"})"), "eos_token"));
  EXPECT_TRUE(test::contains(error(R"({"tokenizer_class": "GPT2Tokenizer"})"), "GPT2Tokenizer"));
  EXPECT_TRUE(test::contains(error(R"({"surprise": 1})"), "surprise"));
}

TEST(CharacterTokenizer, ReadsWhatTransformersSavesAgain) {
  const Scratch directory;
  nlohmann::json json = nlohmann::json::parse(test::read_bytes(test::kData / "character" / "tokenizer.json"));
  json["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}})");
  test::write_bytes(directory.path() / "tokenizer.json", json.dump());
  test::write_bytes(directory.path() / "tokenizer_config.json", R"({"backend": "tokenizers", "is_local": true,
    "clean_up_tokenization_spaces": false, "local_files_only": false, "tokenizer_class": "TokenizersBackend",
    "model_max_length": 1000000000000000019884624838656})");
  EXPECT_EQ(load_tokenizer(directory.path())->pieces(), load_tokenizer(test::kData / "character")->pieces());
}

TEST(LoadTokenizer, SaysWhatIsMissing) {
  const Scratch directory;
  EXPECT_TRUE(test::contains(test::error_of([&] { load_tokenizer(directory.path()); }), directory.path().string()));
  EXPECT_TRUE(test::contains(test::error_of([&] { load_tokenizer(directory.path() / "none"); }), "none"));
}

}  // namespace
}  // namespace rapt
