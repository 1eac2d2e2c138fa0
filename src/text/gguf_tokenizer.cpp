#include "text/gguf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "formats/gguf_model.h"
#include "formats/printable.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// What tokenizer.ggml.token_type says of a token.
enum TokenType : std::int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

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
  if (vocabulary->types.empty()) vocabulary->types.assign(vocabulary->tokens.size(), normal);
  return *std::move(vocabulary);
}

OrderedJson split(std::string_view expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

OrderedJson byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

OrderedJson sequence(std::string_view key, std::initializer_list<OrderedJson> steps) {
  return {{"type", "Sequence"}, {key, OrderedJson(steps)}};
}

/// How texts are cut into words.
enum class Words { gpt2, digits_alone, llama3, qwen2, tekken, deepseek_coder };

/// By the names of llama.cpp, of which some models have their own.
Words words_of(const Gguf& file) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  constexpr std::pair<std::string_view, Words> names[] = {{"gpt-2", Words::gpt2},
                                                          {"smollm", Words::digits_alone},
                                                          {"starcoder", Words::digits_alone},
                                                          {"refact", Words::digits_alone},
                                                          {"llama-bpe", Words::llama3},
                                                          {"llama3", Words::llama3},
                                                          {"llama-v3", Words::llama3},
                                                          {"falcon3", Words::llama3},
                                                          {"qwen2", Words::qwen2},
                                                          {"deepseek-r1-qwen", Words::qwen2},
                                                          {"tekken", Words::tekken},
                                                          {"deepseek-coder", Words::deepseek_coder}};
  const std::string_view name = file.text(key);
  for (const auto& [known, words] : names) {
    if (name == known) return words;
  }
  file.refuse(key, "gpt-2, smollm, llama-bpe, qwen2, tekken or deepseek-coder, which rapt knows");
}

/// Llama 3 and Mistral's Tekken: a word that is a piece is not cut, and a text begins with bos even where the file does
/// not say so.
bool keeps_words(Words words) {
  return words == Words::llama3 || words == Words::tekken;
}

OrderedJson pre_tokenizer_of(Words words) {
  const OrderedJson digits = {{"type", "Digits"}, {"individual_digits", true}};
  switch (words) {
    case Words::gpt2:
      return byte_level(true);
    case Words::digits_alone:
      return sequence("pretokenizers", {digits, byte_level(true)});
    case Words::llama3:
      return sequence(
          "pretokenizers",
          {split(
               R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
           byte_level(false)});
    case Words::qwen2:
      return sequence(
          "pretokenizers",
          {split(
               R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
           byte_level(false)});
    case Words::tekken:
      return sequence(
          "pretokenizers",
          {split(
               R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
           byte_level(false)});
    case Words::deepseek_coder:
      return sequence("pretokenizers", {split(R"([\r\n])"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
                                        split("[一-龥ࠀ-一가-퟿]+"), digits, byte_level(false)});
  }
  return {};
}

/// Merges, best first, of a model that gives pieces scores: a piece may be made of any two others, and is made sooner
/// the higher its score, and among the same piece's ways of the parts that come first.
OrderedJson merges_by_score(const Gguf& file, const GgufVocabulary& vocabulary) {
  const std::vector<double>& scores = vocabulary.scores;
  const auto count = vocabulary.tokens.size();
  if (scores.empty()) file.refuse("tokenizer.ggml.scores", "one score a token");
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < count; ++id) ids.emplace(vocabulary.tokens[id], id);
  struct Merge {
    std::size_t whole, left, right;
  };
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < count; ++id) {
    if (vocabulary.types[id] != normal && vocabulary.types[id] != user_defined) continue;
    const std::string_view piece = vocabulary.tokens[id];
    for (std::size_t cut = 1; cut < std::min<std::size_t>(piece.size(), kMaxPieceBytes); ++cut) {
      const auto left = ids.find(piece.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(piece.substr(cut));
      if (right != ids.end()) merges.push_back({id, left->second, right->second});
    }
  }
  std::ranges::sort(merges, [&](const Merge& a, const Merge& b) {
    if (scores[a.whole] != scores[b.whole]) return scores[a.whole] > scores[b.whole];
    return std::tie(a.whole, a.left, a.right) < std::tie(b.whole, b.left, b.right);
  });
  OrderedJson list = OrderedJson::array();
  for (const Merge& merge : merges) {
    list.push_back({vocabulary.tokens[merge.left], vocabulary.tokens[merge.right]});
  }
  return list;
}

bool flag(const Gguf& file, std::string_view key, bool otherwise) {
  if (!file.contains(key)) return otherwise;
  const GgufValue& value = file.metadata().at(key);
  if (value.type != GgufType::boolean || value.length) file.refuse(key, "true or false");
  return value.bytes[0] != std::byte{0};
}

/// The token that a key names by its id; empty where there is none.
std::string named_token(const Gguf& file, std::string_view key, const GgufVocabulary& vocabulary) {
  if (!file.contains(key)) return {};
  const auto last = static_cast<std::int64_t>(vocabulary.tokens.size()) - 1;
  return std::string(vocabulary.tokens[static_cast<std::size_t>(file.integer(key, 0, last))]);
}

OrderedJson added_tokens(const GgufVocabulary& vocabulary, bool normalized) {
  OrderedJson list = OrderedJson::array();
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::int64_t type = vocabulary.types[id];
    if (type != control && type != user_defined && type != unknown) continue;
    list.push_back({{"id", id},
                    {"content", vocabulary.tokens[id]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", normalized && type == user_defined},
                    {"special", type != user_defined}});
  }
  return list;
}

/// The tokens around a text.
OrderedJson post_processor(const std::string& bos, const std::string& eos, const GgufVocabulary& vocabulary) {
  OrderedJson single = OrderedJson::array(), tokens = OrderedJson::object();
  const auto add = [&](const std::string& piece) {
    if (piece.empty()) return;
    single.push_back({{"SpecialToken", {{"id", piece}, {"type_id", 0}}}});
    const auto id = std::ranges::find(vocabulary.tokens, piece) - vocabulary.tokens.begin();
    tokens[piece] = {{"id", piece}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({piece})}};
  };
  add(bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(eos);
  OrderedJson pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

void describe_gpt2(const Gguf& file, const GgufVocabulary& vocabulary, OrderedJson& json, OrderedJson& model) {
  OrderedJson merges = OrderedJson::array();
  for (const std::string_view merge : vocabulary.merges) merges.push_back(merge);
  model["merges"] = std::move(merges);
  json["added_tokens"] = added_tokens(vocabulary, false);
  const Words words = words_of(file);
  json["pre_tokenizer"] = pre_tokenizer_of(words);
  if (words == Words::qwen2) json["normalizer"] = {{"type", "NFC"}};  // as the directories of these models say
  model["ignore_merges"] = keeps_words(words);
  json["decoder"] = byte_level(true);
}

void describe_llama(const Gguf& file, const GgufVocabulary& vocabulary, OrderedJson& json, OrderedJson& model) {
  model["unk_token"] = named_token(file, "tokenizer.ggml.unknown_token_id", vocabulary);
  model["fuse_unk"] = true;
  model["byte_fallback"] = true;
  model["merges"] = merges_by_score(file, vocabulary);
  json["added_tokens"] = added_tokens(vocabulary, false);
  const OrderedJson spaces = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const bool prefix = flag(file, "tokenizer.ggml.add_space_prefix", true);
  const OrderedJson prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  json["normalizer"] = prefix ? sequence("normalizers", {prepend, spaces}) : sequence("normalizers", {spaces});
  const OrderedJson back = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const OrderedJson bytes = {{"type", "ByteFallback"}}, fuse = {{"type", "Fuse"}};
  const OrderedJson strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  json["decoder"] =
      prefix ? sequence("decoders", {back, bytes, fuse, strip}) : sequence("decoders", {back, bytes, fuse});
}

}  // namespace

std::unique_ptr<PipelineTokenizer> gguf_tokenizer(const Gguf& file) {
  const GgufVocabulary vocabulary = read_tokens(file);
  OrderedJson model = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", vocabulary_object({vocabulary.tokens.begin(), vocabulary.tokens.end()})}};
  OrderedJson json = {{"version", "1.0"},          {"truncation", nullptr}, {"padding", nullptr},
                      {"added_tokens", nullptr},   {"normalizer", nullptr}, {"pre_tokenizer", nullptr},
                      {"post_processor", nullptr}, {"decoder", nullptr}};
  const std::string_view kind = vocabulary.model;
  if (kind == "gpt2") {
    describe_gpt2(file, vocabulary, json, model);
  } else if (kind == "llama") {
    describe_llama(file, vocabulary, json, model);
  } else {
    file.refuse("tokenizer.ggml.model", "\"gpt2\" or \"llama\", which rapt knows");
  }
  json["model"] = std::move(model);
  const std::string bos = named_token(file, "tokenizer.ggml.bos_token_id", vocabulary);
  const std::string eos = named_token(file, "tokenizer.ggml.eos_token_id", vocabulary);
  const bool begins = kind == "llama" || keeps_words(words_of(file));
  const bool add_bos = flag(file, "tokenizer.ggml.add_bos_token", begins) && !bos.empty();
  const bool add_eos = flag(file, "tokenizer.ggml.add_eos_token", false);
  if (add_bos || add_eos) {
    json["post_processor"] = post_processor(add_bos ? bos : std::string(), add_eos ? eos : std::string(), vocabulary);
  }
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  if (!bos.empty()) config["bos_token"] = bos;
  if (!eos.empty()) config["eos_token"] = eos;
  const std::string pad = named_token(file, "tokenizer.ggml.padding_token_id", vocabulary);
  if (!pad.empty()) config["pad_token"] = pad;
  if (file.contains("tokenizer.chat_template")) {
    require_texts(file, "tokenizer.chat_template", {file.text("tokenizer.chat_template")});
    config["chat_template"] = file.text("tokenizer.chat_template");
  }
  try {
    return PipelineTokenizer::of_files({{"tokenizer.json", json.dump()}, {"tokenizer_config.json", config.dump()}});
  } catch (const Error& error) {
    fail("{}: its vocabulary, read as {}", file.file(), error.what());
  }
}

}  // namespace rapt
