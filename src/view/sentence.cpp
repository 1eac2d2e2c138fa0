#include "view/sentence.h"

namespace rapt::view {

std::vector<Piece> pieces_of(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  std::vector<Piece> pieces;
  bool behind_line_end = false;
  for (const std::int32_t id : ids) {
    const DisplayPiece shown = tokenizer.display(id);
    const bool starts_word = shown.starts_word || shown.text.starts_with('\n') || behind_line_end;
    pieces.push_back({.text = (starts_word ? "\u2581" : "") + shown.text, .special = shown.special});
    behind_line_end = shown.text.ends_with('\n');
  }
  return pieces;
}

void add_maps(Sentence& sentence, std::span<const CapturedAttention> captured) {
  for (const CapturedAttention& map : captured) add_map(sentence, map);
}

}  // namespace rapt::view
