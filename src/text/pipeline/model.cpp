#include "text/pipeline/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

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

namespace {

/// The kind of a model; files of early versions of the tokenizers library, such as BERT's and T5's own, do not name it.
std::string type_of(const JsonObject& object) {
  if (object.has("type")) return object.text("type");
  if (object.has("merges")) return "BPE";
  if (object.has("continuing_subword_prefix")) return "WordPiece";
  return object.value("vocab").is_array() ? "Unigram" : object.text("type");
}

}  // namespace

std::unique_ptr<SubwordModel> read_model(const JsonObject& object) {
  const std::string type = type_of(object);
  if (type == "BPE") return read_bpe(object);
  if (type == "WordPiece") return read_word_piece(object);
  if (type == "Unigram") return read_unigram(object);
  object.refuse("type", "BPE, WordPiece or Unigram");
}

}  // namespace rapt
