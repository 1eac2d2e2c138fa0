/// SentencePiece's compiled rules of normalisation, "precompiled_charsmap".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace rapt {

/// Whether compiled rules can be followed without leaving them, and write no more than 256 bytes in place of a
/// character; no rules at all are sound.
bool is_sound_charsmap(std::string_view charsmap);

/// The rules, as the tokenizers library applies them: to each grapheme cluster of up to five bytes as a whole, else to
/// each of its characters. Of the rules whose left side such a part begins with, the shortest replaces all of it.
class Charsmap {
 public:
  /// Throws Error naming `file` unless the rules are sound and write valid UTF-8.
  Charsmap(std::string serialized, const std::string& file);

  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view part) const;
  void append(std::string_view part, std::size_t of_bytes, std::string& result) const;

  std::string serialized_;
  std::size_t trie_size_ = 0;  // bytes
};

}  // namespace rapt
