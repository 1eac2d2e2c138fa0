#include "text/pipeline/charsmap.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "text/pipeline/growth.h"
#include "text/utf8.h"

namespace rapt {
namespace {

/// A part with more bytes is normalised character by character.
constexpr std::size_t kMaxClusterBytes = 5;
/// What a rule may write; 33 bytes in published models.
constexpr std::size_t kMaxReplacementBytes = 256;

/// A unit of a double-array trie as the library darts-clone lays it out.
struct TrieUnit {
  std::uint32_t bits;

  bool is_value() const { return bits >> 31 != 0; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFu; }
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  std::uint32_t label() const { return bits & 0x800000FFu; }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & 0x200u) >> 6); }
};

std::uint32_t word_at(std::string_view bytes, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, bytes.data() + index * sizeof word, sizeof word);
  return word;
}

/// Whether no text between NULs is longer than a rule may write.
bool are_short(std::string_view replacements) {
  while (!replacements.empty()) {
    const std::size_t length = std::min(replacements.find('\0'), replacements.size());
    if (length > kMaxReplacementBytes) return false;
    replacements.remove_prefix(std::min(length + 1, replacements.size()));
  }
  return true;
}

/// Whether every step through a trie stays inside, and every value it holds is where a character in
/// `replacements` begins.
bool is_sound(std::string_view trie, std::string_view replacements) {
  constexpr std::uint32_t any_byte = 0xFF;
  const std::size_t units = trie.size() / sizeof(std::uint32_t);
  if (units == 0 || replacements.empty() || replacements.back() != '\0' || !are_short(replacements)) return false;
  for (std::size_t i = 0; i < units; ++i) {
    const TrieUnit unit{word_at(trie, i)};
    if (unit.is_value() && i > 0) continue;  // the root is followed whatever it is
    const std::uint32_t next = static_cast<std::uint32_t>(i) ^ unit.offset();
    if ((next | any_byte) >= units) return false;
    if (!unit.has_value()) continue;
    const std::uint32_t value = TrieUnit{word_at(trie, next)}.value();
    if (value >= replacements.size() || (replacements[value] & 0xC0) == 0x80) return false;
  }
  return true;
}

/// Bytes of the grapheme cluster that begins at `position` (Unicode Standard Annex 29).
std::size_t cluster_length(std::string_view text, std::size_t position) {
  Utf8Step step = utf8_step(text, position);
  std::size_t end = position + step.length;
  for (utf8proc_int32_t state = 0; end < text.size(); end += step.length) {
    const auto previous = static_cast<utf8proc_int32_t>(step.code_point);
    step = utf8_step(text, end);
    if (utf8proc_grapheme_break_stateful(previous, static_cast<utf8proc_int32_t>(step.code_point), &state)) break;
  }
  return end - position;
}

}  // namespace

// The layout: the size of a trie in bytes, the trie, and the texts it points to, each ended by a NUL.
bool is_sound_charsmap(std::string_view charsmap) {
  if (charsmap.empty()) return true;
  if (charsmap.size() < sizeof(std::uint32_t)) return false;
  const std::uint32_t trie_size = word_at(charsmap, 0);
  charsmap.remove_prefix(sizeof trie_size);
  return trie_size <= charsmap.size() && is_sound(charsmap.substr(0, trie_size), charsmap.substr(trie_size));
}

Charsmap::Charsmap(std::string serialized, const std::string& file) : serialized_(std::move(serialized)) {
  require(is_sound_charsmap(serialized_),
          "{} is damaged: its rules of normalisation point outside of themselves, or write long texts", file);
  if (serialized_.empty()) return;
  trie_size_ = word_at(serialized_, 0);
  require_utf8(std::string_view(serialized_).substr(sizeof(std::uint32_t) + trie_size_),
               file + ": what its rules of normalisation write");
}

std::optional<std::string_view> Charsmap::replacement(std::string_view part) const {
  const std::string_view trie = std::string_view(serialized_).substr(sizeof(std::uint32_t), trie_size_);
  const std::string_view replacements = std::string_view(serialized_).substr(sizeof(std::uint32_t) + trie_size_);
  std::uint32_t node = TrieUnit{word_at(trie, 0)}.offset();
  for (const char character : part) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == 0) break;
    node ^= byte;
    const TrieUnit unit{word_at(trie, node)};
    if (unit.label() != byte) break;
    node ^= unit.offset();
    if (unit.has_value()) {
      const std::string_view from = replacements.substr(TrieUnit{word_at(trie, node)}.value());
      return from.substr(0, from.find('\0'));
    }
  }
  return std::nullopt;
}

void Charsmap::append(std::string_view part, std::size_t of_bytes, std::string& result) const {
  const Utf8Step first = utf8_step(part, 0);
  if (part.size() <= kMaxClusterBytes || part.size() == first.length) {
    if (const auto found = replacement(part)) {
      result += *found;
      require_modest_growth(of_bytes, result.size());
      return;
    }
  }
  if (part.size() == first.length) {
    result += part;
    return;
  }
  for (std::size_t position = 0; position < part.size();) {
    const std::size_t length = utf8_step(part, position).length;
    append(part.substr(position, length), of_bytes, result);
    position += length;
  }
}

std::string Charsmap::normalize(std::string_view text) const {
  if (serialized_.empty()) return std::string(text);
  std::string result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t length = cluster_length(text, position);
    append(text.substr(position, length), text.size(), result);
    position += length;
  }
  return result;
}

}  // namespace rapt
