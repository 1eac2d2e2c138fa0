#include "decoding/alignment.h"

#include <algorithm>

namespace rapt::decoding {

std::vector<int> words_of_pieces(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  std::vector<int> words;
  int word = -1;
  for (const std::int32_t id : ids) {
    const DisplayPiece piece = tokenizer.display(id);
    if (!piece.special && (piece.starts_word || word < 0)) ++word;
    words.push_back(piece.special ? -1 : word);
  }
  return words;
}

std::vector<AlignedWords> align_words(const CapturedAttention& map, std::span<const int> source_words,
                                      std::span<const int> target_words) {
  const auto count = [](std::span<const int> words) {
    return words.empty() ? 0 : 1 + *std::ranges::max_element(words);
  };
  const int sources = count(source_words);
  const int targets = count(target_words);
  if (sources == 0) return {};

  std::vector<double> mass(static_cast<std::size_t>(sources) * static_cast<std::size_t>(targets));
  for (int query = 0; query < map.queries && query < std::ssize(target_words); ++query) {
    const int target = target_words[static_cast<std::size_t>(query)];
    if (target < 0) continue;
    for (int key = 0; key < map.keys && key < std::ssize(source_words); ++key) {
      const int source = source_words[static_cast<std::size_t>(key)];
      if (source < 0) continue;
      for (int head = 0; head < map.heads; ++head) {
        mass[static_cast<std::size_t>(target * sources + source)] += map.weight(head, query, key);
      }
    }
  }
  std::vector<AlignedWords> aligned;
  for (int target = 0; target < targets; ++target) {
    const auto row = mass.begin() + static_cast<std::ptrdiff_t>(target) * sources;
    aligned.push_back({static_cast<int>(std::max_element(row, row + sources) - row), target});
  }
  return aligned;
}

}  // namespace rapt::decoding
