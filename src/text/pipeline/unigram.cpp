#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "formats/printable.h"
#include "text/pipeline/model.h"
#include "text/pipeline/trie.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// How much less likely an unknown character is than the rarest piece, as in SentencePiece.
constexpr double kUnknownPenalty = 10.0;

class Unigram final : public SubwordModel {
 public:
  Unigram(Vocabulary vocabulary, std::vector<double> scores, std::optional<std::int32_t> unknown, bool byte_fallback)
      : vocabulary_(std::move(vocabulary)),
        scores_(std::move(scores)),
        trie_(entries(vocabulary_)),
        bytes_(vocabulary_),
        unknown_(unknown),
        unknown_score_(*std::ranges::min_element(scores_) - kUnknownPenalty),
        byte_fallback_(byte_fallback) {}

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    const std::vector<Step> best = best_steps(word);
    std::vector<Piece> pieces;  // from the last one to the first
    for (std::size_t end = word.size(); end > 0; end = best[end].begin) {
      const bool unknown = best[end].id == unknown_;
      if (unknown && !pieces.empty() && pieces.back().unknown) {
        pieces.back().begin = best[end].begin;
      } else {
        pieces.push_back({best[end].begin, end, best[end].id, unknown});
      }
    }
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
      if (!piece->unknown) {
        ids.push_back(piece->id);
        continue;
      }
      const std::string_view text = word.substr(piece->begin, piece->end - piece->begin);
      if (const std::int32_t id = vocabulary_.find(text); id >= 0) {
        ids.push_back(id);
      } else if (!byte_fallback_ || !bytes_.append_ids(text, ids)) {
        ids.push_back(*unknown_);
      }
    }
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  /// The last piece of the likeliest way to a place in a word.
  struct Step {
    double score = 0;
    std::size_t begin = kNowhere;
    std::int32_t id = 0;
  };
  struct Piece {
    std::size_t begin, end;
    std::int32_t id;
    bool unknown;
  };
  static constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();

  static std::vector<Trie::Entry> entries(const Vocabulary& vocabulary) {
    std::vector<Trie::Entry> result;
    for (const std::string& piece : vocabulary.pieces()) {
      if (!piece.empty()) result.push_back({piece, vocabulary.find(piece)});
    }
    return result;
  }

  std::vector<Step> best_steps(std::string_view word) const {
    std::vector<Step> steps(word.size() + 1);
    const auto offer = [&](std::size_t begin, std::size_t end, double score, std::int32_t id) {
      const double total = score + steps[begin].score;
      if (steps[end].begin == kNowhere || total > steps[end].score) steps[end] = {total, begin, id};
    };
    for (std::size_t begin = 0; begin < word.size();) {
      const std::size_t length = utf8_step(word, begin).length;
      bool has_character = false;
      Trie::Node node = Trie::root;
      for (std::size_t end = begin; end < word.size();) {
        node = trie_.next(node, word[end++]);
        if (node == Trie::none) break;
        const std::int32_t id = trie_.value(node);
        if (id < 0) continue;
        offer(begin, end, scores_[static_cast<std::size_t>(id)], id);
        has_character |= end - begin == length;
      }
      if (!has_character) {
        require(unknown_.has_value(),
                "the character \"{}\" is not in the vocabulary, and there is no piece for unknown ones",
                printable(word.substr(begin, length)));
        offer(begin, begin + length, unknown_score_, *unknown_);
      }
      begin += length;
    }
    return steps;
  }

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  Trie trie_;
  BytePieces bytes_;
  std::optional<std::int32_t> unknown_;
  double unknown_score_;
  bool byte_fallback_;
};

}  // namespace

std::unique_ptr<SubwordModel> read_unigram(const JsonObject& object) {
  object.value("type");
  const Json& list = object.value("vocab");
  if (!list.is_array() || list.empty()) object.refuse("vocab", "an array with at least one piece");
  std::vector<std::string> pieces;
  std::vector<double> scores;
  for (const Json& entry : list) {
    const bool sound = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number() &&
                       entry[0].get_ref<const std::string&>().size() <= kMaxPieceBytes;
    require(sound, "{}: piece {} is {}; expected a text of at most {} bytes and a number", object.file(), pieces.size(),
            printable(entry.dump()), kMaxPieceBytes);
    pieces.push_back(entry[0].get<std::string>());
    scores.push_back(entry[1].get<double>());
  }
  const auto unknown = object.find_integer("unk_id", {.min = 0, .max = static_cast<std::int64_t>(pieces.size()) - 1});
  const bool byte_fallback = object.find_boolean("byte_fallback").value_or(false);
  return std::make_unique<Unigram>(Vocabulary(std::move(pieces)), std::move(scores),
                                   unknown ? std::optional(static_cast<std::int32_t>(*unknown)) : std::nullopt,
                                   byte_fallback);
}

}  // namespace rapt
