#include <algorithm>

#include "text/gguf_description.h"
#include "text/pipeline/base64.h"
#include "text/sentencepiece_model.h"

namespace rapt {
namespace {

std::string bytes_of(const Gguf& file, std::string_view key) {
  std::string bytes;
  for (const std::int64_t byte : file.integers(key)) {
    if (byte < -128 || byte > 255) file.refuse(key, "an array of bytes");
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

/// SentencePiece's rules, which map rare spaces to common ones, then what becomes of those: each is U+2581, the first
/// of a text is put before it, and of several in a row, or around a text, none is left but the one before each word.
void describe_spaces(GgufDescription& description) {
  OrderedJson steps = OrderedJson::array();
  constexpr std::string_view key = "tokenizer.ggml.precompiled_charsmap";
  if (description.file.contains(key))
    steps.push_back(
        {{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(bytes_of(description.file, key))}});
  const bool prefix = description.flag("tokenizer.ggml.add_space_prefix", false);
  const bool one_between_words = description.flag("tokenizer.ggml.remove_extra_whitespaces", false);
  if (one_between_words && prefix) {
    description.pre_tokenizer =
        gguf_sequence("pretokenizers",
                      {{{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "Removed"}, {"invert", false}},
                       {{"type", "Metaspace"}, {"replacement", kWordMark}, {"prepend_scheme", "always"}}});
  } else {
    if (one_between_words) {
      steps.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
      steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
    }
    if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kWordMark}});
    description.pre_tokenizer = {
        {"type", "Metaspace"}, {"replacement", kWordMark}, {"prepend_scheme", "never"}, {"split", false}};
  }
  if (!steps.empty()) description.normalizer = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  constexpr int all = 1 << 20;
  description.decoder = gguf_sentencepiece_decoder(one_between_words ? all : prefix ? 1 : 0);
}

/// The id of the piece for what is unknown.
std::size_t unknown_of(const GgufDescription& description) {
  constexpr std::string_view key = "tokenizer.ggml.unknown_token_id";
  const std::size_t count = description.vocabulary.tokens.size();
  if (description.file.contains(key))
    return static_cast<std::size_t>(description.file.integer(key, 0, static_cast<std::int64_t>(count) - 1));
  for (std::size_t id = 0; id < count; ++id) {
    if (description.is(id, GgufTokenType::unknown)) return id;
  }
  description.file.refuse("tokenizer.ggml.token_type", "one of type 2, the token for what is unknown");
}

}  // namespace

void describe_unigram(GgufDescription& description) {
  const GgufVocabulary& vocabulary = description.vocabulary;
  const std::size_t count = vocabulary.tokens.size();
  if (vocabulary.scores.empty()) description.file.refuse("tokenizer.ggml.scores", "one score a token");
  const auto is_used = [&](std::size_t id) { return !description.is(id, GgufTokenType::unused); };
  double least = 0;
  bool has_bytes = false;
  for (std::size_t id = 0; id < count; ++id) {
    if (is_used(id)) least = std::min(least, vocabulary.scores[id]);
    has_bytes |= description.is(id, GgufTokenType::byte);
  }
  OrderedJson pieces = OrderedJson::array();
  // Ids without a piece, which files give names and scores that no text may meet.
  for (std::size_t id = 0; id < count; ++id)
    pieces.push_back({is_used(id) ? vocabulary.tokens[id] : "", is_used(id) ? vocabulary.scores[id] : least});
  description.model = {{"type", "Unigram"},
                       {"unk_id", unknown_of(description)},
                       {"vocab", std::move(pieces)},
                       {"byte_fallback", has_bytes}};
  describe_spaces(description);
  description.adds_after = true;
  description.mask_takes_space = true;
}

}  // namespace rapt
