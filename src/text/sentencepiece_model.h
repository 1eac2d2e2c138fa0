/// A SentencePiece model (Kudo and Richardson, "SentencePiece: A simple and language independent subword tokenizer and
/// detokenizer for Neural Text Processing", EMNLP 2018): cuts text into pieces and joins them again.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace rapt {

/// Marks the beginning of a word at the front of a piece: U+2581.
inline constexpr std::string_view kWordMark = "\u2581";

class SentencePieceModel {
 public:
  /// Throws Error naming `file` unless the bytes are a SentencePiece model.
  SentencePieceModel(std::string serialized, const std::string& file);
  ~SentencePieceModel();

  /// The pieces of a text, in time proportional to its length. Characters that the model does not know become pieces
  /// that it does not know; those next to each other, one piece, which of a very long run holds only the beginning and
  /// the end.
  std::vector<std::string> encode(std::string_view text) const;
  /// The text of some pieces.
  std::string decode(const std::vector<std::string>& pieces) const;
  /// The model's own vocabulary, by its own ids.
  std::vector<std::string> pieces() const;
  /// The model as its file holds it.
  const std::string& serialized() const { return serialized_; }

 private:
  std::vector<std::string> encode_whole(std::string_view text) const;
  bool is_unknown(std::string_view text) const;
  std::string shorten_unknown(std::string_view text) const;

  std::string serialized_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace rapt
