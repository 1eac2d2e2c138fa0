#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "core/error.h"
#include "formats/printable.h"
#include "text/pipeline/model.h"
#include "text/utf8.h"

namespace rapt {
namespace {

constexpr std::int32_t kNone = -1;

struct Merge {
  std::int32_t rank = kNone;
  std::int32_t result = kNone;
};

/// Which pairs of pieces merge: (left, right) -> rank and result.
class Merges {
 public:
  /// A pair that is there already takes the new rank, as in the tokenizers library.
  void set(std::int32_t left, std::int32_t right, Merge merge) { merges_.insert_or_assign(key(left, right), merge); }
  const Merge* find(std::int32_t left, std::int32_t right) const {
    const auto found = merges_.find(key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }
  void reserve(std::size_t size) { merges_.reserve(size); }

 private:
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  /// Spreads the bits (the finaliser of MurmurHash3); the keys themselves differ in few of them.
  struct Hash {
    std::size_t operator()(std::uint64_t key) const {
      key ^= key >> 33;
      key *= 0xFF51AFD7ED558CCDull;
      return key ^ key >> 33;
    }
  };
  std::unordered_map<std::uint64_t, Merge, Hash> merges_;
};

/// A piece of a word while pieces merge: an element of a linked list.
struct Symbol {
  std::int32_t id;
  std::int32_t previous;
  std::int32_t next;
  bool gone = false;
};

struct Candidate {
  std::int32_t rank;
  std::int32_t position;
  std::int32_t result;

  /// The lowest rank comes first, of equal ones the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

/// Merges pairs of lowest rank, leftmost first, until none is left.
void merge_all(std::vector<Symbol>& symbols, const Merges& merges) {
  std::priority_queue<Candidate> queue;
  const auto symbol = [&](std::int32_t position) -> Symbol& { return symbols[static_cast<std::size_t>(position)]; };
  const auto consider = [&](std::int32_t position) {
    if (position == kNone || symbol(position).next == kNone) return;
    const Merge* merge = merges.find(symbol(position).id, symbol(symbol(position).next).id);
    if (merge != nullptr) queue.push({merge->rank, position, merge->result});
  };
  for (std::int32_t position = 0; position + 1 < static_cast<std::int32_t>(symbols.size()); ++position)
    consider(position);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbol(top.position);
    if (left.gone || left.next == kNone) continue;
    Symbol& right = symbol(left.next);
    const Merge* merge = merges.find(left.id, right.id);
    if (merge == nullptr || merge->result != top.result) continue;  // one of the two has merged meanwhile
    left.id = top.result;
    left.next = right.next;
    right.gone = true;
    if (left.next != kNone) symbol(left.next).previous = top.position;
    consider(left.previous);
    consider(top.position);
  }
}

struct BpeSettings {
  std::optional<std::int32_t> unknown;
  std::string continuation_prefix;  ///< before every piece but the first of a word
  std::string word_suffix;          ///< after the last piece of a word
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  ///< a word that is a piece is not cut
};

class Bpe final : public SubwordModel {
 public:
  Bpe(Vocabulary vocabulary, Merges merges, BpeSettings settings)
      : vocabulary_(std::move(vocabulary)),
        merges_(std::move(merges)),
        settings_(std::move(settings)),
        bytes_(vocabulary_),
        plain_(settings_.continuation_prefix.empty() && settings_.word_suffix.empty()) {}

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    if (settings_.ignore_merges) {
      if (const std::int32_t id = vocabulary_.find(word); id != kNone) return ids.push_back(id);
    }
    std::vector<std::int32_t> start;
    append_characters(word, start);
    std::vector<Symbol> symbols;
    symbols.reserve(start.size());
    const auto count = static_cast<std::int32_t>(start.size());
    for (std::int32_t i = 0; i < count; ++i) {
      symbols.push_back({start[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : kNone});
    }
    merge_all(symbols, merges_);
    for (const Symbol& symbol : symbols) {
      if (!symbol.gone) ids.push_back(symbol.id);
    }
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  /// The pieces of single characters that a word begins with, before any merge.
  void append_characters(std::string_view word, std::vector<std::int32_t>& ids) const {
    bool unknown_pending = false;
    const auto flush = [&] {
      if (std::exchange(unknown_pending, false)) ids.push_back(*settings_.unknown);
    };
    for (std::size_t position = 0; position < word.size();) {
      const std::size_t length = utf8_step(word, position).length;
      const std::string_view character = word.substr(position, length);
      const std::string decorated = plain_ ? "" : decorate(character, position == 0, position + length == word.size());
      const std::string_view piece = plain_ ? character : std::string_view(decorated);
      position += length;
      if (const std::int32_t id = vocabulary_.find(piece); id != kNone) {
        flush();
        ids.push_back(id);
      } else if (settings_.byte_fallback && bytes_.append_ids(piece, ids)) {
        continue;
      } else if (settings_.unknown) {
        if (!settings_.fuse_unknown) flush();
        unknown_pending = true;
      }
    }
    flush();
  }

  std::string decorate(std::string_view character, bool first, bool last) const {
    std::string result = first ? "" : settings_.continuation_prefix;
    result += character;
    if (last) result += settings_.word_suffix;
    return result;
  }

  Vocabulary vocabulary_;
  Merges merges_;
  BpeSettings settings_;
  BytePieces bytes_;
  bool plain_;
};

/// The two pieces of an entry of "merges": "a b" or ["a", "b"].
std::optional<std::pair<std::string_view, std::string_view>> pair_of(const Json& entry) {
  if (entry.is_string()) {
    const std::string_view text = entry.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) return std::nullopt;
    return std::pair{text.substr(0, space), text.substr(space + 1)};
  }
  const bool pair = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
  if (!pair) return std::nullopt;
  return std::pair<std::string_view, std::string_view>{entry[0].get_ref<const std::string&>(),
                                                       entry[1].get_ref<const std::string&>()};
}

Merges read_merges(const JsonObject& object, const Vocabulary& vocabulary, const std::string& continuation_prefix) {
  const Json& list = object.value("merges");
  if (!list.is_array()) object.refuse("merges", "an array of pairs of pieces");
  Merges merges;
  merges.reserve(list.size());
  std::int32_t rank = 0;
  for (const Json& entry : list) {
    if (entry.is_string() && entry.get_ref<const std::string&>().starts_with("#version")) continue;
    const auto pair = pair_of(entry);
    if (!pair) fail("{}: merge {} is {}; expected two pieces", object.file(), rank, printable(entry.dump()));
    const auto [left, right] = *pair;
    const std::string_view suffix = right.substr(std::min(right.size(), continuation_prefix.size()));
    const auto id = [&](std::string_view piece) {
      const std::int32_t found = vocabulary.find(piece);
      if (found == kNone) {
        fail("{}: merge {} needs the piece \"{}\", which is not in the vocabulary", object.file(), rank,
             printable(piece));
      }
      return found;
    };
    const std::int32_t left_id = id(left);
    const std::int32_t right_id = id(right);
    merges.set(left_id, right_id, {rank, id(std::string(left) += suffix)});
    ++rank;
  }
  return merges;
}

}  // namespace

std::unique_ptr<SubwordModel> read_bpe(const JsonObject& object) {
  object.value("type");
  if (object.find_number("dropout").value_or(0) != 0) {
    object.refuse("dropout", "nothing, because the same text must always have the same ids");
  }
  Vocabulary vocabulary = Vocabulary::read(object);
  BpeSettings settings{.continuation_prefix = object.find_text("continuing_subword_prefix").value_or(""),
                       .word_suffix = object.find_text("end_of_word_suffix").value_or(""),
                       .fuse_unknown = object.find_boolean("fuse_unk").value_or(false),
                       .byte_fallback = object.find_boolean("byte_fallback").value_or(false),
                       .ignore_merges = object.find_boolean("ignore_merges").value_or(false)};
  if (const auto unknown = object.find_text("unk_token"); unknown && !unknown->empty()) {
    settings.unknown = vocabulary.find(*unknown);
    if (settings.unknown == kNone) object.refuse("unk_token", "a piece of the vocabulary");
  }
  Merges merges = read_merges(object, vocabulary, settings.continuation_prefix);
  return std::make_unique<Bpe>(std::move(vocabulary), std::move(merges), std::move(settings));
}

}  // namespace rapt
