#include "text/sentencepiece_check.h"

#include <cstdint>
#include <cstring>
#include <optional>

#include "core/error.h"

namespace rapt {
namespace {

/// One field of a Protocol Buffers message (https://protobuf.dev/programming-guides/encoding).
struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;  // of a field that has a length, else empty
};

/// Takes the fields of a message one by one; every step that would leave the message fails.
class Fields {
 public:
  Fields(std::string_view message, const std::string& file) : rest_(message), file_(file) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const std::uint64_t tag = varint();
    Field field{.number = tag >> 3, .bytes = {}};
    switch (tag & 7) {
      case 0:
        varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        damaged();
    }
    return field;
  }

 private:
  [[noreturn]] void damaged() const { fail("{} is damaged: it is not a SentencePiece model from end to end", file_); }

  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) damaged();
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }

  std::string_view rest_;
  const std::string& file_;
};

/// A unit of a double-array trie as the library darts-clone lays it out.
struct TrieUnit {
  std::uint32_t bits;

  bool is_value() const { return bits >> 31 != 0; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFu; }
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & 0x200u) >> 6); }
};

std::uint32_t word_at(std::string_view bytes, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, bytes.data() + index * sizeof word, sizeof word);
  return word;
}

/// Whether every step through a trie stays inside, and every value it holds is the start of a text in `replacements`.
bool is_sound(std::string_view trie, std::string_view replacements) {
  constexpr std::uint32_t any_byte = 0xFF;
  const std::size_t units = trie.size() / sizeof(std::uint32_t);
  if (units == 0 || replacements.empty() || replacements.back() != '\0') return false;
  for (std::size_t i = 0; i < units; ++i) {
    const TrieUnit unit{word_at(trie, i)};
    if (unit.is_value() && i > 0) continue;  // the root is followed whatever it is
    const std::uint32_t next = static_cast<std::uint32_t>(i) ^ unit.offset();
    if ((next | any_byte) >= units) return false;
    if (unit.has_value() && TrieUnit{word_at(trie, next)}.value() >= replacements.size()) return false;
  }
  return true;
}

/// Rules of normalisation: the size of a trie in bytes, the trie, and the texts it points to, each ended by a NUL.
bool is_sound_charsmap(std::string_view charsmap) {
  if (charsmap.empty()) return true;
  if (charsmap.size() < sizeof(std::uint32_t)) return false;
  const std::uint32_t trie_size = word_at(charsmap, 0);
  charsmap.remove_prefix(sizeof trie_size);
  return trie_size <= charsmap.size() && is_sound(charsmap.substr(0, trie_size), charsmap.substr(trie_size));
}

}  // namespace

void require_sound_normalization(std::string_view serialized, const std::string& file) {
  constexpr std::uint64_t normalizer = 3, denormalizer = 5, charsmap = 2;
  Fields model(serialized, file);
  while (const auto part = model.next()) {
    if (part->number != normalizer && part->number != denormalizer) continue;
    Fields rules(part->bytes, file);
    while (const auto rule = rules.next()) {
      if (rule->number != charsmap) continue;
      require(is_sound_charsmap(rule->bytes), "{} is damaged: its rules of normalisation point outside of themselves",
              file);
    }
  }
}

}  // namespace rapt
