#include "text/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include "core/error.h"

namespace rapt {

SentencePieceModel::SentencePieceModel(std::string serialized, const std::string& file)
    : serialized_(std::move(serialized)), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  require(!serialized_.empty(), "{} is empty; it must be a SentencePiece model", file);
  const auto status = processor_->LoadFromSerializedProto(serialized_);
  require(status.ok(), "{} is not a SentencePiece model that can be used: {}", file, status.message());
}

SentencePieceModel::~SentencePieceModel() = default;

std::vector<std::string> SentencePieceModel::encode(std::string_view text) const {
  std::vector<std::string> pieces;
  const auto status = processor_->Encode(text, &pieces);
  require(status.ok(), "SentencePiece cannot cut a text of {} bytes: {}", text.size(), status.message());
  return pieces;
}

std::string SentencePieceModel::decode(const std::vector<std::string>& pieces) const {
  std::string text;
  const auto status = processor_->Decode(pieces, &text);
  require(status.ok(), "SentencePiece cannot join {} pieces: {}", pieces.size(), status.message());
  return text;
}

std::vector<std::string> SentencePieceModel::pieces() const {
  std::vector<std::string> result;
  for (int id = 0; id < processor_->GetPieceSize(); ++id) result.push_back(processor_->IdToPiece(id));
  return result;
}

}  // namespace rapt
