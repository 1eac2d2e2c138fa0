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

  /// The pieces of a text. A piece that the model does not know stands for itself.
  std::vector<std::string> encode(std::string_view text) const;
  /// The text of some pieces.
  std::string decode(const std::vector<std::string>& pieces) const;
  /// The model's own vocabulary, by its own ids.
  std::vector<std::string> pieces() const;
  /// The model as its file holds it.
  const std::string& serialized() const { return serialized_; }

 private:
  std::string serialized_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace rapt
