// Directories without tokenizer.json: each tokenizer.json of these styles, taken apart into the files of earlier years,
// gives the same ids again.
#include "text/vocabulary_files.h"

#include <gtest/gtest.h>

#include "text/helpers.h"
#include "text/ugly_text.h"

namespace rapt {
namespace {

using test::contains;

class VocabularyFiles : public testing::Test {
 protected:
  /// Takes a tokenizer.json apart; the tokens behind its vocabulary are left out.
  void take_apart(const std::string& style) {
    const OrderedJson json = OrderedJson::parse(test::read_bytes(test::kData / "pipeline" / style / "tokenizer.json"));
    const OrderedJson& model = json["model"];
    std::map<int, std::string> pieces;
    for (const auto& [piece, id] : model["vocab"].items()) pieces[id.get<int>()] = piece;
    if (model["type"] == "WordPiece") {
      std::string lines;
      for (const auto& [id, piece] : pieces) lines += piece + "\n";
      put("vocab.txt", lines);
      return;
    }
    put("vocab.json", model["vocab"].dump());
    std::string lines = "#version: 0.2\n";
    for (const OrderedJson& merge : model["merges"])
      lines += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
    put("merges.txt", lines);
  }

  void put(const char* name, const std::string& bytes) { test::write_bytes(scratch_ / name, bytes); }

  std::unique_ptr<Tokenizer> load() { return load_tokenizer(scratch_.path()); }

  /// The tokenizer of tokenizer.json; that of BERT's style cuts words as long as published models cut.
  static std::unique_ptr<Tokenizer> whole(const std::string& style) {
    const auto directory = test::kData / "pipeline" / style;
    OrderedJson json = OrderedJson::parse(test::read_bytes(directory / "tokenizer.json"));
    if (json["model"]["type"] == "WordPiece") json["model"]["max_input_chars_per_word"] = 100;
    return PipelineTokenizer::of_files(
        {{"tokenizer.json", json.dump()},
         {"tokenizer_config.json", test::read_bytes(directory / "tokenizer_config.json")}});
  }

  void expect_same(const std::string& style) {
    const auto wanted = whole(style);
    const auto found = load();
    for (const std::string& line : test::ugly_lines()) {
      const auto ids = wanted->encode(line);
      ASSERT_EQ(found->encode(line), ids) << line;
      ASSERT_EQ(found->decode(ids), wanted->decode(ids)) << line;
    }
    EXPECT_EQ(found->special().eos, wanted->special().eos);
    EXPECT_EQ(found->special().pad, wanted->special().pad);
    EXPECT_EQ(found->special().mask, wanted->special().mask);
  }

  std::string error() {
    return test::error_of([&] { load(); });
  }

  Scratch scratch_;
};

TEST_F(VocabularyFiles, Bert) {
  take_apart("bert-uncased");
  put("config.json", R"({"model_type": "bert"})");
  put("tokenizer_config.json", R"({"clean_up_tokenization_spaces": true})");
  expect_same("bert-uncased");
  put("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": null,
                                   "tokenize_chinese_chars": true, "clean_up_tokenization_spaces": true,
                                   "do_basic_tokenize": true, "never_split": null, "model_max_length": 512})");
  EXPECT_NE(load()->encode("THE"), whole("bert-uncased")->encode("THE"));
}

TEST_F(VocabularyFiles, Gpt2) {
  take_apart("gpt2");
  put("config.json", R"({"model_type": "gpt2"})");
  expect_same("gpt2");
  put("config.json", R"({"model_type": "gpt2", "tokenizer_class": "GPT2Tokenizer"})");
  expect_same("gpt2");
}

TEST_F(VocabularyFiles, Roberta) {
  take_apart("roberta");
  put("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": true})");
  put("special_tokens_map.json", R"({"cls_token": "<s>", "pad_token": "<pad>", "mask_token": {"content": "<mask>",
      "lstrip": true, "rstrip": false, "single_word": false, "normalized": false}})");
  expect_same("roberta");
}

TEST_F(VocabularyFiles, Qwen2WithAddedTokens) {
  take_apart("qwen2");
  put("config.json", R"({"model_type": "qwen2"})");
  put("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>",
      "pad_token": "<|endoftext|>", "bos_token": null, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})");
  put("added_tokens.json", R"({"<|im_end|>": 342, "<|endoftext|>": 340, "<tool>": 343, "<|im_start|>": 341})");
  put("special_tokens_map.json", R"({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
      "pad_token": "<|endoftext|>", "eos_token": {"content": "<|im_end|>", "lstrip": false}})");
  expect_same("qwen2");
  EXPECT_TRUE(load()->display(342).special);
  EXPECT_FALSE(load()->display(343).special);
}

TEST_F(VocabularyFiles, AreWrittenAsTheyWereRead) {
  take_apart("gpt2");
  put("config.json", R"({"model_type": "gpt2"})");
  const auto files = load()->files();
  EXPECT_EQ(files.size(), 2u);
  EXPECT_EQ(files.at("merges.txt"), test::read_bytes(scratch_ / "merges.txt"));
}

TEST_F(VocabularyFiles, OfEqualLinesTheLastCounts) {
  put("config.json", R"({"model_type": "distilbert"})");
  put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\r\n\nword \n");
  EXPECT_EQ(load()->encode("Word"), (std::vector<std::int32_t>{2, 7, 3}));
}

TEST_F(VocabularyFiles, WhatIsNotKnownIsRefused) {
  put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[MASK]\n");
  put("config.json", R"({"model_type": "electra"})");
  EXPECT_TRUE(contains(error(), "\"tokenizer_class\": expected one of BertTokenizer, DistilBertTokenizer"));
  put("config.json", R"({"model_type": "bert"})");
  EXPECT_TRUE(contains(error(), "vocab.txt: the special token \"[SEP]\" is not among the pieces"));
  put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  for (const char* config : {R"({"do_basic_tokenize": false})", R"({"never_split": ["x"]})", R"({"strange": 1})"}) {
    put("tokenizer_config.json", config);
    EXPECT_TRUE(contains(error(), "tokenizer_config.json: "));
  }
  put("tokenizer_config.json", "{}");
  put("added_tokens.json", R"({"<new>": 9})");
  EXPECT_TRUE(contains(error(), "the added token \"<new>\" has the id 9, but 5 by the vocabulary"));
  put("added_tokens.json", R"({"<new>": 5, "<newer>": 5})");
  EXPECT_TRUE(contains(error(), "added_tokens.json: "));
  put("special_tokens_map.json", "[1]");
  EXPECT_TRUE(contains(error(), "special_tokens_map.json"));
}

TEST_F(VocabularyFiles, Gpt2ThatBeginsTextsIsRefused) {
  take_apart("gpt2");
  put("config.json", R"({"model_type": "gpt2"})");
  put("tokenizer_config.json", R"({"add_bos_token": true})");
  EXPECT_TRUE(contains(error(), "add_bos_token"));
  std::filesystem::remove(scratch_ / "merges.txt");
  EXPECT_TRUE(contains(error(), "nor vocab.json with merges.txt"));
}

}  // namespace
}  // namespace rapt
