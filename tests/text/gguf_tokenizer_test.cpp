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
  std::optional<std::uint32_t> bos = {};

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
    if (bos) bytes.keys.push_back(gguf_u32("tokenizer.ggml.bos_token_id", *bos));
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

/// The same words as Mistral's and DeepSeek's tokenizer.json have them cut.
TEST(GgufTokenizer, WordsOfTekkenAndDeepSeekCoder) {
  const auto split = [](const char* regex) {
    return nlohmann::json{
        {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  const nlohmann::json bytes{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const nlohmann::json digits{{"type", "Digits"}, {"individual_digits", true}};
  const std::map<std::string, nlohmann::json> steps{
      {"tekken",
       {split(
            R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
        bytes}},
      {"deepseek-coder",
       {split("[\\r\\n]"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"), split("[一-龥ࠀ-一가-퟿]+"), digits,
        bytes}}};
  for (const auto& [pre, list] : steps) {
    SCOPED_TRACE(pre);
    auto json = nlohmann::json::parse(test::read_bytes(test::kData / "pipeline" / "gpt2" / "tokenizer.json"));
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", list}};
    json["model"]["ignore_merges"] = pre == "tekken";
    expect_same(*gguf_tokenizer(describe("gpt2", pre).file()),
                *PipelineTokenizer::of_files({{"tokenizer.json", json.dump()}}));
  }
}

/// Files of Llama 3 and of Mistral's later models do not say that texts begin with bos.
TEST(GgufTokenizer, TextsBeginAsTheirModelsBegin) {
  for (const auto& [pre, begins] :
       std::map<std::string, bool>{{"llama-bpe", true}, {"llama3", true}, {"tekken", true}, {"qwen2", false}}) {
    Description description = describe("llama3", pre);
    description.bos = static_cast<std::uint32_t>(description.tokens.size() - 1);
    const auto ids = gguf_tokenizer(description.file())->encode("a");
    EXPECT_EQ(ids.front() == static_cast<std::int32_t>(*description.bos), begins) << pre;
    description.bos.reset();
    EXPECT_EQ(gguf_tokenizer(description.file())->encode("a").size(), ids.size() - (begins ? 1 : 0)) << pre;
  }
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
  description.pre = "falcon";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.pre"));
  EXPECT_THAT(message(description), testing::HasSubstr("falcon"));
  description.model = "rwkv";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.model"));
  description.model = "gpt2";
  description.types.pop_back();
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.token_type"));
}

}  // namespace
}  // namespace rapt
