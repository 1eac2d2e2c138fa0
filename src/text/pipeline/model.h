/// What cuts words into pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "formats/json.h"
#include "text/pipeline/vocabulary.h"

namespace rapt {

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;

  /// Appends the ids of the pieces of a word, which is valid UTF-8 and not empty.
  virtual void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

/// Byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016), of
/// characters or, where the words are made of bytes_to_characters(), of bytes. Takes n log n for a word of n
/// characters.
std::unique_ptr<SubwordModel> read_bpe(const JsonObject& object);

/// Longest match first (Wu et al., "Google's Neural Machine Translation System", 2016; Devlin et al., "BERT", 2019).
std::unique_ptr<SubwordModel> read_word_piece(const JsonObject& object);

/// The likeliest pieces under a unigram language model (Kudo, "Subword Regularization", ACL 2018).
std::unique_ptr<SubwordModel> read_unigram(const JsonObject& object);

/// Reads "model" of tokenizer.json. Throws Error for kinds and settings that rapt does not know.
std::unique_ptr<SubwordModel> read_model(const JsonObject& object);

/// A vocabulary's pieces for single bytes, "<0x00>" to "<0xFF>", which stand for characters that have no piece.
class BytePieces {
 public:
  explicit BytePieces(const Vocabulary& vocabulary);

  /// Appends the ids of the bytes of a text; does nothing and returns false if one of them has no piece.
  bool append_ids(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  std::vector<std::int32_t> ids_;  // by byte, -1: none
};

/// Longest piece of models whose time grows with the length of their pieces, in bytes.
inline constexpr std::size_t kMaxPieceBytes = 1024;

}  // namespace rapt
