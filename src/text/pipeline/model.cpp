#include "text/pipeline/model.h"

#include <fmt/format.h>

#include <algorithm>

namespace rapt {

BytePieces::BytePieces(const Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) ids_.push_back(vocabulary.find(fmt::format("<0x{:02X}>", byte)));
}

bool BytePieces::append_ids(std::string_view text, std::vector<std::int32_t>& ids) const {
  const auto id = [this](char byte) { return ids_[static_cast<unsigned char>(byte)]; };
  if (!std::ranges::all_of(text, [&](char byte) { return id(byte) >= 0; })) return false;
  std::ranges::transform(text, std::back_inserter(ids), id);
  return true;
}

std::unique_ptr<SubwordModel> read_model(const JsonObject& object) {
  // Old files of byte-pair encodings do not name their kind.
  const std::string type = object.has("type") || !object.has("merges") ? object.text("type") : "BPE";
  if (type == "BPE") return read_bpe(object);
  if (type == "WordPiece") return read_word_piece(object);
  if (type == "Unigram") return read_unigram(object);
  object.refuse("type", "BPE, WordPiece or Unigram");
}

}  // namespace rapt
