/// The attention page: one HTML file that shows, for each sentence, where every layer and head of a model looked.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "view/attention_map.h"

namespace rapt::view {

/// A token as the tokenizer writes it: "\u2581" (U+2581) marks the beginning of a word. Any bytes are allowed.
struct Piece {
  std::string text = {};
  bool special = false;  ///< no text of the sentence: the start symbol, </s>, a language code
};

/// One sentence and the attention over it.
///
/// Encoder-decoder models: `source` and `target` hold the pieces, end symbols included. Encoder maps are [source,
/// source]. Row i of a decoder or cross map belongs to the step that produced target piece i, so cross maps are
/// [target, source], and decoder maps are [target, target] whose key 0 is `start`, and key j > 0 is target piece j - 1.
///
/// Language models: `source` and `start` are empty, `target` holds all pieces read, and the decoder map is [target,
/// target]: row i belongs to the step that read piece i.
struct Sentence {
  std::vector<Piece> source = {};
  std::vector<Piece> target = {};
  std::optional<Piece> start = {};  ///< what the decoder read first
  std::string source_text = {};
  std::string target_text = {};
  std::optional<std::string> reference = {};
  std::optional<double> score = {};   ///< of the search, as the command prints it
  std::vector<EncodedMap> maps = {};  ///< filled by add_map
};

/// Encodes `map` into `sentence`, whose pieces must be set; the map itself is needed no longer. Throws when its extents
/// are not those that Sentence states, or its weights are not probabilities.
void add_map(Sentence& sentence, const AttentionMap& map);

struct Report {
  std::string model_name = {};
  std::string title = "Attention";
  std::vector<Sentence> sentences = {};      ///< filled by add_sentence
  std::vector<AbsentAttention> absent = {};  ///< layers that have no maps; the page says why
  std::size_t omitted = 0;                   ///< sentences that add_sentence refused; the page says so
  std::size_t max_bytes = 128u << 20;        ///< of the weights on the page; browsers tire of larger files
};

/// Appends `sentence` unless the page would hold over max_bytes of weights: then counts it as omitted and returns
/// false. The first sentence is always taken. Throws when the sentence has no map.
bool add_sentence(Report& report, Sentence sentence);

/// The page: self-contained, needs no network, shows any text literally. Same report, same bytes.
std::string attention_page(const Report& report);

}  // namespace rapt::view
