#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "text/gguf_description.h"
#include "text/pipeline/model.h"
#include "text/pipeline/pattern.h"
#include "text/tokenizer_files.h"

namespace rapt {
namespace {

OrderedJson split(std::string_view expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

OrderedJson byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

/// What tokenizer.ggml.pre names: how texts are cut into words, and what the directories of these models say besides.
struct GgufWordRule {
  std::string_view name;
  std::array<std::string_view, 4> words = {};  ///< expressions, applied in turn; none: GPT-2's
  bool digits_alone = false;
  bool normalizes = false;   ///< to NFC
  bool whole_words = false;  ///< a word that is a piece is never cut
  bool begins = false;       ///< texts begin with a special token, also in files that do not say so
  bool ends = false;         ///< likewise
  bool mask_takes_space = false;
};

/// The converter finds the name by what a text becomes. GPT-NeoX's vocabulary, Pythia's and Dolly's, too, becomes what
/// OLMo's and MPT's do, which were made from it.
constexpr GgufWordRule word_rules[] = {
    {.name = "gpt-2"},
    {.name = "roberta-bpe", .begins = true, .ends = true, .mask_takes_space = true},
    {.name = "olmo", .normalizes = true},
    {.name = "mpt", .normalizes = true},
    {.name = "smollm", .digits_alone = true},
    {.name = "starcoder", .digits_alone = true},
    {.name = "refact", .digits_alone = true},
    {.name = "llama-bpe", .words = {kLlama3Words}, .whole_words = true, .begins = true},
    {.name = "llama3", .words = {kLlama3Words}, .whole_words = true, .begins = true},
    {.name = "llama-v3", .words = {kLlama3Words}, .whole_words = true, .begins = true},
    {.name = "falcon3", .words = {kLlama3Words}, .whole_words = true, .begins = true},
    {.name = "tekken", .words = {kTekkenWords}, .whole_words = true, .begins = true},
    {.name = "qwen2", .words = {kQwen2Words}, .normalizes = true},
    {.name = "deepseek-r1-qwen", .words = {kQwen2Words}, .normalizes = true},
    {.name = "deepseek-coder",
     .words = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+"},
     .digits_alone = true}};

const GgufWordRule& find_word_rule(const Gguf& file) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  const auto* const found = std::ranges::find(word_rules, file.text(key), &GgufWordRule::name);
  if (found != std::ranges::end(word_rules)) return *found;
  std::vector<std::string_view> names;
  for (const GgufWordRule& known : word_rules) names.push_back(known.name);
  file.refuse(key, fmt::format("one of {}, which rapt knows", fmt::join(names, ", ")));
}

OrderedJson json_of(const GgufWordRule& pre) {
  OrderedJson steps = OrderedJson::array();
  for (const std::string_view expression : pre.words) {
    if (!expression.empty()) steps.push_back(split(expression));
  }
  const bool gpt2_words = steps.empty();
  if (pre.digits_alone) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  steps.push_back(byte_level(gpt2_words));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

/// Merges, best first, of a model that gives pieces scores: a piece may be made of any two others, and is made sooner
/// the higher its score, and among the same piece's ways of the parts that come first.
OrderedJson merges_by_score(const GgufDescription& description) {
  const GgufVocabulary& vocabulary = description.vocabulary;
  const std::vector<double>& scores = vocabulary.scores;
  const auto count = vocabulary.tokens.size();
  if (scores.empty()) description.file.refuse("tokenizer.ggml.scores", "one score a token");
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < count; ++id) ids.emplace(vocabulary.tokens[id], id);
  struct Merge {
    std::size_t whole, left, right;
  };
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < count; ++id) {
    if (!description.is(id, GgufTokenType::normal) && !description.is(id, GgufTokenType::user_defined)) continue;
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

OrderedJson bpe(const GgufVocabulary& vocabulary, OrderedJson merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", vocabulary_object({vocabulary.tokens.begin(), vocabulary.tokens.end()})},
          {"merges", std::move(merges)}};
}

}  // namespace

void describe_byte_level(GgufDescription& description) {
  if (description.flag("tokenizer.ggml.add_space_prefix", false))
    description.file.refuse("tokenizer.ggml.add_space_prefix", "false");
  OrderedJson merges = OrderedJson::array();
  for (const std::string_view merge : description.vocabulary.merges) merges.push_back(merge);
  description.model = bpe(description.vocabulary, std::move(merges));
  const GgufWordRule& pre = find_word_rule(description.file);
  description.pre_tokenizer = json_of(pre);
  if (pre.normalizes) description.normalizer = {{"type", "NFC"}};
  description.model["ignore_merges"] = pre.whole_words;
  description.adds_before = pre.begins;
  description.adds_after = pre.ends;
  description.mask_takes_space = pre.mask_takes_space;
  description.decoder = byte_level(true);
}

void describe_scored_merges(GgufDescription& description) {
  description.model = bpe(description.vocabulary, merges_by_score(description));
  description.model["unk_token"] = description.named_token("tokenizer.ggml.unknown_token_id");
  description.model["fuse_unk"] = true;
  description.model["byte_fallback"] = true;
  const OrderedJson spaces = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const bool prefix = description.flag("tokenizer.ggml.add_space_prefix", true);
  const OrderedJson prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  description.normalizer =
      prefix ? gguf_sequence("normalizers", {prepend, spaces}) : gguf_sequence("normalizers", {spaces});
  description.decoder = gguf_sentencepiece_decoder(prefix ? 1 : 0);
  description.adds_before = true;
}

}  // namespace rapt
