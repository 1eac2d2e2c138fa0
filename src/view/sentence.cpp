#include "view/sentence.h"

namespace rapt::view {

std::vector<Piece> pieces_of(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  std::vector<Piece> pieces;
  for (const std::int32_t id : ids) {
    const DisplayPiece shown = tokenizer.display(id);
    pieces.push_back({.text = (shown.starts_word ? "\u2581" : "") + shown.text, .special = shown.special});
  }
  return pieces;
}

void add_maps(Sentence& sentence, std::span<const CapturedAttention> captured) {
  for (const CapturedAttention& map : captured) add_map(sentence, map);
}

}  // namespace rapt::view
