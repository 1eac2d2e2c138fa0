/// The tiny models of tests/data as directories that can be trained: with a tokenizer of letters.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "families/checkpoint.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"

namespace rapt {

inline const std::string test_data = RAPT_TEST_DATA;

/// The XLM-RoBERTa of tests/data has no masked-language head, and there is no CamemBERT; RoBERTa is the same with
/// another model type.
inline constexpr std::string_view headed_xlm_roberta = "xlm-roberta-with-head";
inline constexpr std::string_view headed_camembert = "camembert-with-head";
inline bool is_renamed_roberta(std::string_view name) {
  return name == headed_xlm_roberta || name == headed_camembert;
}

/// One of each family and of each way to write it that ModelDirectory must keep.
inline const std::vector<const char*> trainable_models{"marian-tiny",
                                                       "gpt2-tiny",
                                                       "gpt_neox-tiny",
                                                       "gpt_neox-parallel-tiny",
                                                       "llama-tiny",
                                                       "llama3-tiny",
                                                       "mistral-tiny",
                                                       "qwen2-tiny",
                                                       "qwen3-tiny",
                                                       "gemma2-tiny",
                                                       "bert-tiny",
                                                       "roberta-tiny",
                                                       headed_xlm_roberta.data(),
                                                       headed_camembert.data(),
                                                       "distilbert-tiny",
                                                       "bart-tiny",
                                                       "mbart-tiny",
                                                       "m2m_100-tiny",
                                                       "t5-tiny",
                                                       "t5-gated-tiny",
                                                       "mt5-tiny"};

/// tokenizer.json of single letters, with the special tokens where config.json has them, and around a text those that
/// models of this family expect.
inline std::string letter_tokenizer(const ModelConfig& config) {
  std::map<std::string, std::int32_t> vocabulary;
  std::set<std::int32_t> taken;
  const auto place = [&](const std::string& piece, std::int32_t id) {
    for (std::int32_t free = 0; id < 0 || taken.contains(id); ++free) id = taken.contains(free) ? -1 : free;
    vocabulary[piece] = id;
    taken.insert(id);
  };
  const bool speaks = config.family == "mbart" || config.family == "m2m_100";
  std::vector<std::string> special{"</s>", "<pad>", "<unk>"};
  place("</s>", config.eos);
  place("<pad>", config.pad);
  const auto add = [&](const std::string& piece, std::int32_t id) {
    place(piece, id);
    special.push_back(piece);
  };
  if (config.encoder_only()) add("[CLS]", config.bos);
  if (config.family == "bart") add("<s>", config.bos);
  place("<unk>", -1);
  if (config.encoder_only()) add("<mask>", -1);
  if (speaks) {
    add("en_XX", -1);
    add("de_DE", -1);
  }
  for (const char* letter : {"▁", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m",
                             "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"})
    place(letter, -1);

  std::vector<std::string> around{"$A"};
  if (config.encoder_only()) around = {"[CLS]", "$A", "</s>"};
  if (config.encoder_decoder()) around = {"$A", "</s>"};
  if (config.family == "bart") around = {"<s>", "$A", "</s>"};
  if (speaks) around = {"en_XX", "$A", "</s>"};

  OrderedJson json{{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  json["added_tokens"] = OrderedJson::array();
  for (const std::string& token : special)
    json["added_tokens"].push_back({{"id", vocabulary[token]},
                                    {"content", token},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}, {"split", true}};
  json["post_processor"] = nullptr;
  if (around.size() > 1) {
    OrderedJson single = OrderedJson::array();
    OrderedJson tokens = OrderedJson::object();
    for (const std::string& part : around) {
      if (part == "$A") {
        single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
        continue;
      }
      single.push_back({{"SpecialToken", {{"id", part}, {"type_id", 0}}}});
      tokens[part] = {{"id", part}, {"ids", {vocabulary[part]}}, {"tokens", {part}}};
    }
    OrderedJson pair = single;
    pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
    json["post_processor"] = {
        {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
  }
  json["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}, {"split", true}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", "<unk>"},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"vocab", vocabulary},
                   {"merges", OrderedJson::array()}};
  return json_text(json);
}

/// Writes one of the models of tests/data to a directory, with its weights in `dtype`, its tokenizer, and files that
/// rapt has no use for.
inline void put_tiny_model(const std::string& name, const std::filesystem::path& directory, DType dtype = DType::f32) {
  std::filesystem::create_directories(directory);
  const std::string source = test_data + "/" + (is_renamed_roberta(name) ? "roberta-tiny" : name);
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    if (entry.path().extension() != ".safetensors")
      std::filesystem::copy_file(entry.path(), directory / entry.path().filename());
  }
  std::vector<NamedTensor> tensors;
  for (const auto& [tensor_name, tensor] : read_safetensors_directory(source).tensors)
    tensors.emplace_back(tensor_name, tensor.to(dtype));
  save_safetensors(directory / "model.safetensors", tensors);
  if (is_renamed_roberta(name)) {
    const bool french = name == headed_camembert;
    auto config = OrderedJson::parse(get(directory / "config.json"));
    config["model_type"] = french ? "camembert" : "xlm-roberta";
    config["architectures"] = {french ? "CamembertForMaskedLM" : "XLMRobertaForMaskedLM"};
    put(directory / "config.json", json_text(config));
  }
  const ModelConfig config = read_config(directory);
  put(directory / "tokenizer.json", letter_tokenizer(config));
  OrderedJson tokenizer{{"eos_token", "</s>"}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}};
  if (config.encoder_only()) tokenizer["mask_token"] = "<mask>";
  if (config.family == "m2m_100") tokenizer.update({{"src_lang", "en_XX"}, {"tgt_lang", nullptr}});
  put(directory / "tokenizer_config.json", json_text(tokenizer));
  put(directory / "README.md", "What this model is.\n");
  put(directory / "pytorch_model.bin", "the same weights in another format");
}

}  // namespace rapt
