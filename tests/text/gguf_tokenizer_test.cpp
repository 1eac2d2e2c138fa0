#include "text/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "core/error.h"
#include "formats/gguf_bytes.h"
#include "text/helpers.h"
#include "text/ugly_text.h"

namespace rapt {
namespace {

/// What a GGUF file says of a tokenizer.
struct Description {
  std::string model;
  std::string pre = {};
  std::vector<std::string> tokens = {};
  std::vector<std::int32_t> types = {};
  std::vector<std::string> merges = {};
  std::vector<float> scores = {};
  std::optional<std::uint32_t> unknown = {};
  std::vector<std::pair<std::string, bool>> booleans = {};
  std::vector<std::pair<std::string, std::uint32_t>> ids = {};  ///< of special tokens, after "tokenizer.ggml."

  Gguf file() const {
    GgufBytes bytes;
    bytes.keys = {gguf_string("tokenizer.ggml.model", model), gguf_strings("tokenizer.ggml.tokens", tokens)};
    std::string numbers;
    for (const std::int32_t type : types) numbers += raw(type);
    bytes.keys.push_back(gguf_array("tokenizer.ggml.token_type", GgufType::i32, types.size(), numbers));
    if (!pre.empty()) bytes.keys.push_back(gguf_string("tokenizer.ggml.pre", pre));
    if (!merges.empty()) bytes.keys.push_back(gguf_strings("tokenizer.ggml.merges", merges));
    if (!scores.empty()) {
      std::string elements;
      for (const float score : scores) elements += raw(score);
      bytes.keys.push_back(gguf_array("tokenizer.ggml.scores", GgufType::f32, scores.size(), elements));
    }
    if (unknown) bytes.keys.push_back(gguf_u32("tokenizer.ggml.unknown_token_id", *unknown));
    for (const auto& [key, id] : ids) bytes.keys.push_back(gguf_u32("tokenizer.ggml." + key, id));
    for (const auto& [key, value] : booleans) bytes.keys.push_back(gguf_key(key, GgufType::boolean, raw(value)));
    const auto keep = std::make_shared<std::string>(bytes.text());
    return read_gguf(keep, std::as_bytes(std::span(*keep)), "model.gguf");
  }
};

/// As llama.cpp's converter describes a tokenizer.json of byte-level BPE.
Description describe(const std::string& name, const std::string& pre) {
  const auto json = nlohmann::json::parse(test::read_bytes(test::kData / "pipeline" / name / "tokenizer.json"));
  Description result{.model = "gpt2", .pre = pre};
  const auto place = [&](std::size_t id, const std::string& piece, std::int32_t type) {
    if (id >= result.tokens.size()) {
      result.tokens.resize(id + 1);
      result.types.resize(id + 1, 5);
    }
    result.tokens[id] = piece;
    result.types[id] = type;
  };
  for (const auto& [piece, id] : json["model"]["vocab"].items()) place(id.get<std::size_t>(), piece, 1);
  for (const auto& token : json["added_tokens"]) {
    place(token["id"].get<std::size_t>(), token["content"].get<std::string>(), token["special"] == true ? 3 : 4);
  }
  for (const auto& merge : json["model"]["merges"]) {
    result.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                              : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return result;
}

void expect_same(const Tokenizer& found, const Tokenizer& expected) {
  const auto& lines = test::ugly_lines();
  for (std::size_t i = 0; i < lines.size(); i += 5) {
    const auto ids = expected.encode(lines[i], {.special_tokens = false});
    ASSERT_EQ(found.encode(lines[i], {.special_tokens = false}), ids) << i << ": " << lines[i];
    ASSERT_EQ(found.decode(ids), expected.decode(ids)) << i << ": " << lines[i];
  }
}

TEST(GgufTokenizer, ByteLevelModelsGiveTheIdsOfTheirDirectories) {
  for (const auto& [name, pre] : std::map<std::string, std::string>{
           {"gpt2", "gpt-2"}, {"smollm2", "smollm"}, {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}}) {
    SCOPED_TRACE(name);
    expect_same(*gguf_tokenizer(describe(name, pre).file()), *load_tokenizer(test::kData / "pipeline" / name));
  }
}

TEST(GgufTokenizer, WordsOfNeoxAreThoseOfGpt2AfterNormalisation) {
  Description description = describe("gpt2", "gpt-2");
  const auto plain = gguf_tokenizer(description.file());
  for (const char* const name : {"olmo", "mpt"}) {
    description.pre = name;
    const auto tokenizer = gguf_tokenizer(description.file());
    EXPECT_EQ(tokenizer->encode("It's 1234  words"), plain->encode("It's 1234  words"));
    EXPECT_NE(plain->encode("u\u0308"), plain->encode("\u00fc"));
    EXPECT_EQ(tokenizer->encode("u\u0308"), plain->encode("\u00fc"));
  }
}

TEST(GgufTokenizer, TextsOfRobertaStandBetweenItsTokens) {
  Description description = describe("roberta", "roberta-bpe");
  auto json = nlohmann::json::parse(test::read_bytes(test::kData / "pipeline" / "roberta" / "tokenizer.json"));
  // The converter knows vocabularies by what a text becomes, and none that puts a space before it.
  json["pre_tokenizer"]["add_prefix_space"] = json["post_processor"]["add_prefix_space"] = false;
  const auto expected = PipelineTokenizer::of_files({{"tokenizer.json", json.dump()}});
  const auto id = [&](const char* piece) {
    return static_cast<std::uint32_t>(std::ranges::find(description.tokens, piece) - description.tokens.begin());
  };
  description.ids = {{"bos_token_id", id("<s>")}, {"eos_token_id", id("</s>")}, {"mask_token_id", id("<mask>")}};
  expect_same(*gguf_tokenizer(description.file()), *expected);
  for (const char* const text : {"a cat", "", "a <mask> cat"})
    EXPECT_EQ(gguf_tokenizer(description.file())->encode(text), expected->encode(text)) << text;
  description.booleans = {{"tokenizer.ggml.add_bos_token", false}};
  EXPECT_EQ(gguf_tokenizer(description.file())->encode("").size(), 1U);
}

TEST(GgufTokenizer, SentencePieceModelsGiveTheIdsOfTheirDirectories) {
  const auto directory = test::kData / "pipeline" / "spm-llama";
  sentencepiece::SentencePieceProcessor model;
  ASSERT_TRUE(model.Load((directory / "tokenizer.model").string()).ok());
  Description description{.model = "llama", .unknown = static_cast<std::uint32_t>(model.unk_id())};
  for (int id = 0; id < model.GetPieceSize(); ++id) {
    description.tokens.push_back(model.IdToPiece(id));
    description.scores.push_back(model.GetScore(id));
    description.types.push_back(model.IsUnknown(id) ? 2 : model.IsControl(id) ? 3 : model.IsByte(id) ? 6 : 1);
  }
  expect_same(*gguf_tokenizer(description.file()), *load_tokenizer(directory));
}

/// As llama.cpp's converter describes a tokenizer.json of WordPiece.
Description describe_word_piece(const std::string& name) {
  const auto json = nlohmann::json::parse(test::read_bytes(test::kData / "pipeline" / name / "tokenizer.json"));
  Description result{.model = "bert", .pre = "bert-bge"};
  result.tokens.resize(json["model"]["vocab"].size());
  result.types.assign(result.tokens.size(), 1);
  for (const auto& [piece, id] : json["model"]["vocab"].items())
    result.tokens[id.get<std::size_t>()] = piece.starts_with("##") ? piece.substr(2) : "\u2581" + piece;
  for (const auto& token : json["added_tokens"]) {
    const auto id = token["id"].get<std::size_t>();
    result.tokens[id] = token["content"].get<std::string>();
    result.types[id] = 3;
  }
  return result;
}

TEST(GgufTokenizer, WordPieceModelsGiveTheIdsOfTheirDirectories) {
  for (const std::string name : {"bert-uncased", "bert-cased"}) {
    SCOPED_TRACE(name);
    auto json = nlohmann::json::parse(test::read_bytes(test::kData / "pipeline" / name / "tokenizer.json"));
    json["model"]["max_input_chars_per_word"] = 100;  // as in all published vocabularies; files do not say it
    const auto expected = PipelineTokenizer::of_files(
        {{"tokenizer.json", json.dump()},
         {"tokenizer_config.json", test::read_bytes(test::kData / "pipeline" / name / "tokenizer_config.json")}});
    const Description description = describe_word_piece(name);
    const auto found = gguf_tokenizer(description.file());
    expect_same(*found, *expected);
    EXPECT_EQ(found->encode("a cat"), expected->encode("a cat")) << "with [CLS] and [SEP], which no key names";
    EXPECT_EQ(found->encode("a [MASK]"), expected->encode("a [MASK]"));
    EXPECT_EQ(found->pieces(), expected->pieces());
  }
}

TEST(GgufTokenizer, WordPieceFoldsCaseAsTheKeysSay) {
  Description description = describe_word_piece("bert-uncased");
  const auto kept = [&](bool lower, std::optional<bool> strip) {
    description.booleans = {{"tokenizer.ggml.normalizer.lowercase", lower}};
    if (strip) description.booleans.emplace_back("tokenizer.ggml.normalizer.strip_accents", *strip);
    const auto tokenizer = gguf_tokenizer(description.file());
    const auto same = [&](const char* a, const char* b) { return tokenizer->encode(a) == tokenizer->encode(b); };
    return std::pair(!same("A", "a"), !same("\u00e4", "a"));
  };
  EXPECT_EQ(kept(true, {}), std::pair(false, false));
  EXPECT_EQ(kept(false, {}), std::pair(true, true));
  EXPECT_EQ(kept(false, true), std::pair(true, false));
}

TEST(GgufTokenizer, WhatItDoesNotKnowIsNamed) {
  const auto message = [](const Description& description) -> std::string {
    try {
      gguf_tokenizer(description.file());
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  Description description = describe("gpt2", "gpt-2");
  description.pre = "tekken";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.pre"));
  EXPECT_THAT(message(description), testing::HasSubstr("tekken"));
  description.model = "rwkv";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.model"));
  description.model = "gpt2";
  description.types.pop_back();
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.token_type"));
  description = describe("gpt2", "gpt-2");
  description.booleans = {{"tokenizer.ggml.normalizer.lowercase", false}};
  EXPECT_THAT(message(description), testing::HasSubstr("\"tokenizer.ggml.normalizer.lowercase\" (false) may change how "
                                                       "a \"gpt2\" tokenizer cuts texts"));
  description = describe_word_piece("bert-cased");
  for (std::string& token : description.tokens) {  // as the converter writes CamemBERT's pieces
    if (!token.starts_with("[")) token = "\u2581" + token;
  }
  EXPECT_THAT(message(description), testing::HasSubstr("pieces of WordPiece, some of which continue words"));
}

}  // namespace
}  // namespace rapt
