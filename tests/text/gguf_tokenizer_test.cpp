#include "text/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "core/error.h"
#include "formats/gguf_bytes.h"
#include "text/helpers.h"
#include "text/ugly_text.h"
#include "text/utf8.h"

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
  std::string charsmap = {};
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
    if (!charsmap.empty()) {
      bytes.keys.push_back(gguf_array("tokenizer.ggml.precompiled_charsmap", GgufType::i8, charsmap.size(), charsmap));
    }
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
    const auto bos = static_cast<std::uint32_t>(description.tokens.size() - 1);
    description.ids = {{"bos_token_id", bos}};
    const auto ids = gguf_tokenizer(description.file())->encode("a");
    EXPECT_EQ(ids.front() == static_cast<std::int32_t>(bos), begins) << pre;
    description.ids.clear();
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

/// The first field of a number in a Protocol Buffers message, of those that have a length; "" where there is none.
std::string_view field_of(std::string_view message, std::uint64_t number) {
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.front());
      message.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (!message.empty()) {
    const std::uint64_t tag = varint();
    if ((tag & 7) == 0) varint();
    if ((tag & 7) == 5) message.remove_prefix(4);
    if ((tag & 7) != 2) continue;
    const std::uint64_t length = varint();
    if (tag >> 3 == number) return message.substr(0, length);
    message.remove_prefix(length);
  }
  return {};
}

/// As the converter describes a SentencePiece model of unigrams, with ids that no piece has behind them.
Description describe_unigram(const std::string& directory, const std::string& file) {
  const std::string serialized = test::read_bytes(test::kData / "pipeline" / directory / file);
  sentencepiece::SentencePieceProcessor model;
  EXPECT_TRUE(model.LoadFromSerializedProto(serialized).ok());
  constexpr std::uint64_t normalizer_spec = 3, precompiled_charsmap = 2;
  Description result{.model = "t5", .pre = "default"};
  result.charsmap = field_of(field_of(serialized, normalizer_spec), precompiled_charsmap);
  EXPECT_FALSE(result.charsmap.empty());
  result.booleans = {{"tokenizer.ggml.add_space_prefix", true}, {"tokenizer.ggml.remove_extra_whitespaces", true}};
  for (int id = 0; id < model.GetPieceSize(); ++id) {
    result.tokens.push_back(model.IdToPiece(id));
    result.scores.push_back(model.GetScore(id));
    result.types.push_back(model.IsUnknown(id) ? 2 : model.IsControl(id) ? 3 : 1);
  }
  for (int i = 0; i < 3; ++i) {
    result.tokens.push_back("[PAD" + std::to_string(result.tokens.size()) + "]");
    result.scores.push_back(-10000);
    result.types.push_back(5);
  }
  return result;
}

/// SentencePiece itself is what is expected: the tokenizers library, as which rapt reads files, applies rules to whole
/// clusters of characters instead, and takes U+2581 in a text for its own mark.
void expect_same_plain_texts(const Tokenizer& found, const Tokenizer& expected) {
  std::vector<std::string> lines{"The ﬁne … ＡＢＣ of words", "  spaces   here  ", "", " ", "I know, I know."};
  for (const std::string& line : test::ugly_lines()) {
    bool plain = true;
    for (std::size_t i = 0; i < line.size(); i += utf8_step(line, i).length)
      plain &= utf8_step(line, i).code_point < 0x300;
    if (plain) lines.push_back(line);
  }
  ASSERT_GT(lines.size(), 20U);
  for (const std::string& line : lines) {
    const auto ids = expected.encode(line, {.special_tokens = false});
    ASSERT_EQ(found.encode(line, {.special_tokens = false}), ids) << line;
    ASSERT_EQ(found.decode(ids), expected.decode(ids)) << line;
  }
}

TEST(GgufTokenizer, UnigramModelsGiveTheIdsOfT5) {
  Description description = describe_unigram("spm-t5", "spiece.model");
  const auto expected = load_tokenizer(test::kData / "pipeline" / "spm-t5");
  description.ids = {{"eos_token_id", *expected->special().eos},
                     {"padding_token_id", *expected->special().pad},
                     {"unknown_token_id", *expected->special().unk}};
  const auto found = gguf_tokenizer(description.file());
  expect_same_plain_texts(*found, *expected);
  EXPECT_EQ(found->encode("a cat"), expected->encode("a cat"));
  const auto unused = static_cast<std::int32_t>(description.tokens.size()) - 1;
  EXPECT_EQ(found->pieces().back(), "");
  const auto ids = found->encode(description.tokens.back());
  EXPECT_EQ(std::ranges::find(ids, unused), ids.end()) << "no text becomes an id that is not used";
}

TEST(GgufTokenizer, UnigramModelsKeepSpacesAsTheKeysSay) {
  Description description = describe_unigram("spm-t5", "spiece.model");
  const auto mark = std::ranges::find(description.tokens, "\u2581") - description.tokens.begin();
  const auto marks = [&](bool prefix, bool removes) {
    description.booleans = {{"tokenizer.ggml.add_space_prefix", prefix},
                            {"tokenizer.ggml.remove_extra_whitespaces", removes}};
    const auto ids = gguf_tokenizer(description.file())->encode("  9  ", {.special_tokens = false});
    return std::ranges::count(ids, mark);
  };
  EXPECT_EQ(marks(true, true), 1);
  EXPECT_EQ(marks(false, true), 0);
  EXPECT_EQ(marks(true, false), 5);
  EXPECT_EQ(marks(false, false), 4);
}

TEST(GgufTokenizer, UnigramModelsGiveTheIdsOfXlmRoberta) {
  Description description = describe_unigram("spm-xlm-roberta", "sentencepiece.bpe.model");
  // fairseq's four special tokens, in place of SentencePiece's three.
  description.tokens.erase(description.tokens.begin(), description.tokens.begin() + 3);
  description.scores.erase(description.scores.begin(), description.scores.begin() + 3);
  description.types.erase(description.types.begin(), description.types.begin() + 3);
  const std::vector<std::string> first{"<s>", "<pad>", "</s>", "<unk>"};
  description.tokens.insert(description.tokens.begin(), first.begin(), first.end());
  description.scores.insert(description.scores.begin(), 4, 0.0F);
  description.types.insert(description.types.begin(), {3, 3, 3, 2});
  const auto mask = static_cast<std::size_t>(std::ranges::find(description.types, 5) - description.types.begin());
  description.tokens[mask] = "<mask>";
  description.types[mask] = 3;
  description.ids = {{"bos_token_id", 0},
                     {"eos_token_id", 2},
                     {"padding_token_id", 1},
                     {"unknown_token_id", 3},
                     {"mask_token_id", static_cast<std::uint32_t>(mask)}};
  description.booleans.emplace_back("tokenizer.ggml.add_bos_token", true);
  description.booleans.emplace_back("tokenizer.ggml.add_eos_token", true);
  const auto found = gguf_tokenizer(description.file());
  const auto expected = load_tokenizer(test::kData / "pipeline" / "spm-xlm-roberta");
  expect_same_plain_texts(*found, *expected);
  EXPECT_EQ(found->encode("a cat"), expected->encode("a cat"));
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
    Description added = description;
    const auto word = std::ranges::find(added.tokens, "\u2581water") - added.tokens.begin();
    added.types[static_cast<std::size_t>(word)] = 4;
    const std::vector<std::int32_t> water{static_cast<std::int32_t>(word)};
    EXPECT_EQ(gguf_tokenizer(added.file())->encode("water", {.special_tokens = false}), water) << "added by a user";
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
  description.pre = "falcon";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.pre"));
  EXPECT_THAT(message(description), testing::HasSubstr("falcon"));
  description.model = "rwkv";
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.model"));
  description.model = "gpt2";
  description.types.pop_back();
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.token_type"));
  description = describe("gpt2", "gpt-2");
  description.booleans = {{"tokenizer.ggml.normalizer.lowercase", false}};
  EXPECT_THAT(message(description), testing::HasSubstr("\"tokenizer.ggml.normalizer.lowercase\" (false) may change how "
                                                       "a \"gpt2\" tokenizer cuts texts"));
  description = describe_unigram("spm-t5", "spiece.model");
  description.scores.clear();
  EXPECT_THAT(message(description), testing::HasSubstr("tokenizer.ggml.scores"));
  description = describe_unigram("spm-t5", "spiece.model");
  description.charsmap.resize(7);
  EXPECT_THAT(message(description), testing::HasSubstr("rules of normalisation point outside"));
  description = describe_word_piece("bert-cased");
  for (std::string& token : description.tokens) {  // as the converter writes CamemBERT's pieces
    if (!token.starts_with("[")) token = "\u2581" + token;
  }
  EXPECT_THAT(message(description), testing::HasSubstr("load the model from its Hugging Face directory"));
}

}  // namespace
}  // namespace rapt
