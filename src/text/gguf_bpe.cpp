#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "text/gguf_description.h"
#include "text/pipeline/model.h"
#include "text/tokenizer_files.h"

namespace rapt {
namespace {

OrderedJson split(std::string_view expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

OrderedJson byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

/// How texts are cut into words, by the names of llama.cpp.
OrderedJson pre_tokenizer_of(const Gguf& file) {
  constexpr std::string_view key = "tokenizer.ggml.pre";
  const std::string_view name = file.text(key);
  if (name == "gpt-2") return byte_level(true);
  if (name == "smollm" || name == "starcoder" || name == "refact") {
    return gguf_sequence("pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)});
  }
  if (name == "llama-bpe") {
    return gguf_sequence(
        "pretokenizers",
        {split(
             R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
         byte_level(false)});
  }
  if (name == "qwen2") {
    return gguf_sequence(
        "pretokenizers",
        {split(
             R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
         byte_level(false)});
  }
  file.refuse(key, "gpt-2, smollm, llama-bpe or qwen2, which rapt knows");
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
  description.pre_tokenizer = pre_tokenizer_of(description.file);
  // What the directories of these models say besides.
  const std::string_view pre = description.file.text("tokenizer.ggml.pre");
  if (pre == "qwen2") description.normalizer = {{"type", "NFC"}};
  if (pre == "llama-bpe") description.model["ignore_merges"] = true;
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
  const OrderedJson back = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const OrderedJson bytes = {{"type", "ByteFallback"}}, fuse = {{"type", "Fuse"}};
  const OrderedJson strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  description.decoder =
      prefix ? gguf_sequence("decoders", {back, bytes, fuse, strip}) : gguf_sequence("decoders", {back, bytes, fuse});
  description.adds_before = true;
}

}  // namespace rapt
