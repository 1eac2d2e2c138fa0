/// What a GGUF file says of its tokenizer, written down as a tokenizer.json.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf_model.h"
#include "formats/json.h"

namespace rapt {

/// What tokenizer.ggml.token_type says of a token.
enum class GgufTokenType : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };

/// The parts of a tokenizer.json, some of which are still to be written: a file's tokenizer.ggml.model says how.
struct GgufDescription {
  const Gguf& file;
  GgufVocabulary vocabulary;             ///< with a type for each token
  std::vector<std::string> pieces = {};  ///< the tokens as a tokenizer.json has them, where they differ
  OrderedJson model = nullptr;
  OrderedJson normalizer = nullptr;
  OrderedJson pre_tokenizer = nullptr;
  OrderedJson decoder = nullptr;
  std::string before;  ///< the token before a text, where there is one
  std::string after;
  bool adds_before = false;  ///< where the file does not say it
  bool adds_after = false;
  bool mask_takes_space = false;  ///< before it
  bool cleans_up = false;         ///< spaces around punctuation, in what is decoded

  bool is(std::size_t id, GgufTokenType type) const { return vocabulary.types[id] == static_cast<std::int64_t>(type); }
  /// What the key says, or else `otherwise`.
  bool flag(std::string_view key, bool otherwise) const;
  /// The token that a key names by its id; empty where there is none.
  std::string named_token(std::string_view key) const;
};

OrderedJson gguf_sequence(std::string_view key, std::initializer_list<OrderedJson> steps);
/// From SentencePiece's pieces back to texts, at whose beginning so many spaces are not the text's.
OrderedJson gguf_sentencepiece_decoder(int spaces);

/// "gpt2": byte-level BPE, with the expressions that tokenizer.ggml.pre names.
void describe_byte_level(GgufDescription& description);
/// "llama": SentencePiece's BPE with byte fallback.
void describe_scored_merges(GgufDescription& description);
/// "bert": WordPiece.
void describe_word_piece(GgufDescription& description);
/// "t5": SentencePiece's unigram language model.
void describe_unigram(GgufDescription& description);

}  // namespace rapt
