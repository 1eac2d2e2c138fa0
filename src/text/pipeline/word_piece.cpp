#include "text/pipeline/model.h"
#include "text/pipeline/trie.h"
#include "text/utf8.h"

namespace rapt {
namespace {

class WordPiece final : public SubwordModel {
 public:
  WordPiece(Vocabulary vocabulary, std::int32_t unknown, const std::string& prefix, std::size_t max_characters)
      : vocabulary_(std::move(vocabulary)),
        trie_(entries(vocabulary_)),
        continuation_(trie_.walk(Trie::root, prefix)),
        unknown_(unknown),
        max_characters_(max_characters) {}

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    const std::size_t begin = ids.size();
    std::size_t characters = 0;
    for (const char byte : word) characters += (byte & 0xC0) != 0x80;
    bool known = characters <= max_characters_;
    for (std::size_t position = 0; known && position < word.size();) {
      const auto [id, length] = longest(word.substr(position), position == 0 ? Trie::root : continuation_);
      known = id >= 0;
      if (known) ids.push_back(id);
      position += length;
    }
    if (known) return;
    ids.resize(begin);
    ids.push_back(unknown_);
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  struct Match {
    std::int32_t id = -1;
    std::size_t length = 0;
  };

  static std::vector<Trie::Entry> entries(const Vocabulary& vocabulary) {
    std::vector<Trie::Entry> result;
    for (const std::string& piece : vocabulary.pieces()) {
      if (!piece.empty()) result.push_back({piece, static_cast<std::int32_t>(&piece - vocabulary.pieces().data())});
    }
    return result;
  }

  Match longest(std::string_view text, Trie::Node node) const {
    Match match;
    for (std::size_t i = 0; node != Trie::none && i < text.size(); ++i) {
      node = trie_.next(node, text[i]);
      if (node != Trie::none && trie_.value(node) >= 0) match = {trie_.value(node), i + 1};
    }
    return match;
  }

  Vocabulary vocabulary_;
  Trie trie_;
  Trie::Node continuation_;
  std::int32_t unknown_;
  std::size_t max_characters_;
};

}  // namespace

std::unique_ptr<SubwordModel> read_word_piece(const JsonObject& object) {
  object.value("type");
  Vocabulary vocabulary = Vocabulary::read(object);
  for (const std::string& piece : vocabulary.pieces()) {
    if (piece.size() > kMaxPieceBytes) object.refuse("vocab", "pieces of at most 1024 bytes");
  }
  const std::int32_t unknown = vocabulary.find(object.text("unk_token"));
  if (unknown < 0) object.refuse("unk_token", "a piece of the vocabulary");
  const std::string prefix = object.text("continuing_subword_prefix");
  const auto max_characters = static_cast<std::size_t>(object.integer("max_input_chars_per_word", {.min = 0}));
  return std::make_unique<WordPiece>(std::move(vocabulary), unknown, prefix, max_characters);
}

}  // namespace rapt
