#include "text/gguf_tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/error.h"
#include "formats/printable.h"
#include "text/gguf_description.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::string_view model_key = "tokenizer.ggml.model";

struct Kind {
  std::string_view model;  ///< tokenizer.ggml.model
  void (*describe)(GgufDescription& description);
  std::vector<std::string_view> keys;  ///< that change how it cuts texts, after "tokenizer.ggml."
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"gpt2", describe_byte_level, {"add_space_prefix"}},
      {"llama", describe_scored_merges, {"add_space_prefix", "scores"}},
      {"bert", describe_word_piece, {"normalizer.lowercase", "normalizer.strip_accents"}},
      {"t5", describe_unigram, {"add_space_prefix", "precompiled_charsmap", "remove_extra_whitespaces", "scores"}},
  };
  return all;
}

/// Keys of all tokenizers: what texts consist of and stand between, and what says nothing to rapt (tokens for filling
/// in code, and what the converter knew a tokenizer by).
constexpr std::string_view common_keys[] = {"add_bos_token",
                                            "add_eos_token",
                                            "add_sep_token",
                                            "bos_token_id",
                                            "cls_token_id",
                                            "eom_token_id",
                                            "eos_token_id",
                                            "eot_token_id",
                                            "mask_token_id",
                                            "merges",
                                            "middle_token_id",
                                            "model",
                                            "padding_token_id",
                                            "pre",
                                            "prefix_token_id",
                                            "scores",
                                            "seperator_token_id",
                                            "suffix_token_id",
                                            "token_type",
                                            "token_type_count",
                                            "tokens",
                                            "unknown_token_id",
                                            "fim_pre_token_id",
                                            "fim_suf_token_id",
                                            "fim_mid_token_id",
                                            "fim_pad_token_id",
                                            "fim_rep_token_id",
                                            "fim_sep_token_id"};

void require_known_keys(const Gguf& file, const Kind& kind) {
  constexpr std::string_view prefix = "tokenizer.ggml.";
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = key.substr(prefix.size());
    const bool known = std::ranges::find(common_keys, name) != std::ranges::end(common_keys) ||
                       std::ranges::find(kind.keys, name) != kind.keys.end();
    if (known) continue;
    fail(
        "{}: key \"{}\" ({}) may change how a \"{}\" tokenizer cuts texts, but rapt does not know it; load the model "
        "from its Hugging Face directory",
        file.file(), printable(key), value.shown(), kind.model);
  }
}

void require_texts(const Gguf& file, std::string_view key, const std::vector<std::string_view>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    require(first_invalid_utf8(texts[i]) == std::string_view::npos, "{}: key \"{}\": element {}, \"{}\", is not UTF-8",
            file.file(), key, i, printable(texts[i]));
  }
}

GgufVocabulary read_tokens(const Gguf& file) {
  std::optional<GgufVocabulary> vocabulary = read_vocabulary(file);
  require(vocabulary.has_value(), "{}: key \"tokenizer.ggml.tokens\" is missing; the file has no vocabulary",
          file.file());
  require_texts(file, "tokenizer.ggml.tokens", vocabulary->tokens);
  require_texts(file, "tokenizer.ggml.merges", vocabulary->merges);
  if (vocabulary->types.empty())
    vocabulary->types.assign(vocabulary->tokens.size(), static_cast<std::int64_t>(GgufTokenType::normal));
  return *std::move(vocabulary);
}

const Kind& find_kind(const Gguf& file) {
  const std::vector<Kind>& all = kinds();
  const auto found = std::ranges::find(all, file.text(model_key), &Kind::model);
  if (found != all.end()) return *found;
  std::vector<std::string_view> names;
  for (const Kind& kind : all) names.push_back(kind.model);
  file.refuse(model_key, fmt::format("one of {}, which rapt knows", fmt::join(names, ", ")));
}

OrderedJson added_tokens(const GgufDescription& description) {
  const std::string mask = description.named_token("tokenizer.ggml.mask_token_id");
  OrderedJson list = OrderedJson::array();
  for (std::size_t id = 0; id < description.vocabulary.tokens.size(); ++id) {
    const bool user_defined = description.is(id, GgufTokenType::user_defined);
    if (!user_defined && !description.is(id, GgufTokenType::control) && !description.is(id, GgufTokenType::unknown))
      continue;
    const std::string_view token =
        description.pieces.empty() ? description.vocabulary.tokens[id] : description.pieces[id];
    list.push_back({{"id", id},
                    {"content", token},
                    {"single_word", false},
                    {"lstrip", description.mask_takes_space && token == mask},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", !user_defined}});
  }
  return list;
}

/// The tokens around a text.
OrderedJson post_processor(const std::string& before, const std::string& after, const GgufVocabulary& vocabulary) {
  OrderedJson single = OrderedJson::array(), tokens = OrderedJson::object();
  const auto add = [&](const std::string& piece) {
    if (piece.empty()) return;
    single.push_back({{"SpecialToken", {{"id", piece}, {"type_id", 0}}}});
    const auto id = std::ranges::find(vocabulary.tokens, piece) - vocabulary.tokens.begin();
    tokens[piece] = {{"id", piece}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({piece})}};
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  OrderedJson pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

OrderedJson tokenizer_json(GgufDescription& description) {
  const auto given = [&](std::string_view key, bool otherwise, const std::string& token) {
    return description.flag(key, otherwise) ? token : std::string();
  };
  const std::string before = given("tokenizer.ggml.add_bos_token", description.adds_before, description.before);
  const std::string after = given("tokenizer.ggml.add_eos_token", description.adds_after, description.after);
  OrderedJson surroundings = nullptr;
  if (!before.empty() || !after.empty()) surroundings = post_processor(before, after, description.vocabulary);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(description)},
          {"normalizer", std::move(description.normalizer)},
          {"pre_tokenizer", std::move(description.pre_tokenizer)},
          {"post_processor", std::move(surroundings)},
          {"decoder", std::move(description.decoder)},
          {"model", std::move(description.model)}};
}

OrderedJson tokenizer_config(const GgufDescription& description) {
  const Gguf& file = description.file;
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"clean_up_tokenization_spaces", description.cleans_up},
                        // transformers 4 would give decoders segments, too.
                        {"model_input_names", OrderedJson::array({"input_ids", "attention_mask"})}};
  const auto add = [&](const char* name, const std::string& token) {
    if (!token.empty()) config[name] = token;
  };
  add("bos_token", description.before);
  add("eos_token", description.after);
  add("pad_token", description.named_token("tokenizer.ggml.padding_token_id"));
  add("mask_token", description.named_token("tokenizer.ggml.mask_token_id"));
  constexpr std::string_view chat = "tokenizer.chat_template";
  if (file.contains(chat)) {
    require_texts(file, chat, {file.text(chat)});
    config["chat_template"] = file.text(chat);
  }
  return config;
}

}  // namespace

bool GgufDescription::flag(std::string_view key, bool otherwise) const {
  return file.contains(key) ? file.boolean(key) : otherwise;
}

std::string GgufDescription::named_token(std::string_view key) const {
  if (!file.contains(key)) return {};
  const auto last = static_cast<std::int64_t>(vocabulary.tokens.size()) - 1;
  return std::string(vocabulary.tokens[static_cast<std::size_t>(file.integer(key, 0, last))]);
}

OrderedJson gguf_sequence(std::string_view key, std::initializer_list<OrderedJson> steps) {
  return {{"type", "Sequence"}, {key, OrderedJson(steps)}};
}

OrderedJson gguf_sentencepiece_decoder(int spaces) {
  return gguf_sequence("decoders", {{{"type", "Replace"}, {"pattern", {{"String", kWordMark}}}, {"content", " "}},
                                    {{"type", "ByteFallback"}},
                                    {{"type", "Fuse"}},
                                    {{"type", "Strip"}, {"content", " "}, {"start", spaces}, {"stop", 0}}});
}

std::unique_ptr<PipelineTokenizer> gguf_tokenizer(const Gguf& file) {
  const Kind& kind = find_kind(file);
  require_known_keys(file, kind);
  GgufDescription description{.file = file, .vocabulary = read_tokens(file)};
  description.before = description.named_token("tokenizer.ggml.bos_token_id");
  description.after = description.named_token("tokenizer.ggml.eos_token_id");
  kind.describe(description);
  const std::string json = tokenizer_json(description).dump();
  try {
    return PipelineTokenizer::of_files(
        {{"tokenizer.json", json}, {"tokenizer_config.json", json_text(tokenizer_config(description))}});
  } catch (const Error& error) {
    fail("{}: its vocabulary, read as {}", file.file(), error.what());
  }
}

}  // namespace rapt
