#include <algorithm>
#include <vector>

#include "core/error.h"
#include "text/gguf_description.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_files.h"

namespace rapt {
namespace {

constexpr std::string_view continuation = "##";
constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";

/// [CLS], [unused0]: such pieces stand for themselves, and early converters did not mark them.
bool in_brackets(std::string_view piece) {
  return piece.starts_with('[') && piece.ends_with(']');
}

/// The pieces as vocab.txt has them. In files, those that begin a word are marked instead of those that continue one.
std::vector<std::string> pieces_of(const GgufDescription& description) {
  std::vector<std::string> pieces;
  bool continues = false;
  for (std::size_t id = 0; id < description.vocabulary.tokens.size(); ++id) {
    std::string_view token = description.vocabulary.tokens[id];
    std::string& piece = pieces.emplace_back();
    if (token.empty() || description.is(id, GgufTokenType::unused)) continue;  // an id that no piece has
    const bool begins =
        token.starts_with(kWordMark) && token != kWordMark;  // which alone is that character, continuing
    if (begins) token.remove_prefix(kWordMark.size());
    const bool whole = begins || in_brackets(token) || description.is(id, GgufTokenType::control);
    continues |= !whole;
    piece = whole ? token : std::string(continuation).append(token);
  }
  require(continues,
          "{}: key \"{}\": no piece continues a word (all have the mark U+2581): so llama.cpp's converter writes "
          "CamemBERT, without the scores that its texts are cut by; load the model from its Hugging Face directory",
          description.file.file(), tokens_key);
  return pieces;
}

/// Early files do not say whether capitals count; where they do not, no piece has one.
bool has_capitals(const std::vector<std::string>& pieces) {
  return std::ranges::any_of(pieces, [](const std::string& piece) {
    return !in_brackets(piece) && std::ranges::any_of(piece, [](char c) { return c >= 'A' && c <= 'Z'; });
  });
}

/// The token of the first key that is there, or the one of this text.
std::string token_of(const GgufDescription& description, std::initializer_list<std::string_view> keys,
                     std::string_view usual) {
  for (const std::string_view key : keys) {
    if (description.file.contains(key)) return description.named_token(key);
  }
  if (std::ranges::find(description.vocabulary.tokens, usual) == description.vocabulary.tokens.end())
    description.file.refuse(tokens_key, std::string(usual) + ", which no key names");
  return std::string(usual);
}

}  // namespace

void describe_word_piece(GgufDescription& description) {
  description.pieces = pieces_of(description);
  const bool lower = description.flag("tokenizer.ggml.normalizer.lowercase", !has_capitals(description.pieces));
  description.normalizer = {{"type", "BertNormalizer"},
                            {"clean_text", true},
                            {"handle_chinese_chars", true},
                            {"strip_accents", description.flag("tokenizer.ggml.normalizer.strip_accents", lower)},
                            {"lowercase", lower}};
  description.pre_tokenizer = {{"type", "BertPreTokenizer"}};
  description.model = {{"type", "WordPiece"},
                       {"unk_token", token_of(description, {"tokenizer.ggml.unknown_token_id"}, "[UNK]")},
                       {"continuing_subword_prefix", continuation},
                       {"max_input_chars_per_word", 100},
                       {"vocab", vocabulary_object(description.pieces)}};
  description.decoder = {{"type", "WordPiece"}, {"prefix", continuation}, {"cleanup", true}};
  description.before = token_of(description, {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.cls_token_id"}, "[CLS]");
  description.after =
      token_of(description, {"tokenizer.ggml.seperator_token_id", "tokenizer.ggml.eos_token_id"}, "[SEP]");
  description.adds_before = description.adds_after = description.cleans_up = true;
}

}  // namespace rapt
