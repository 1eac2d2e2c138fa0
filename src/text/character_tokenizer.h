/// A tokenizer whose pieces are single characters, for small language models such as nanoGPT's shakespeare-char.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace rapt {

/// One id for each code point of a text, in the order of the code points; no special tokens. decode(encode(x)) is x,
/// whitespace and all. encode() throws Error for a character that is not in the vocabulary, naming it and its place, as
/// transformers does, because a model has nothing to make of it.
class CharacterTokenizer final : public Tokenizer {
 public:
  /// The characters of a text. Throws Error unless it is valid UTF-8 and not empty.
  static std::unique_ptr<CharacterTokenizer> of_text(std::string_view text);
  /// Reads tokenizer.json, and tokenizer_config.json if there is one. Throws Error unless they describe exactly this
  /// kind of tokenizer, naming what differs.
  static std::unique_ptr<CharacterTokenizer> read(const std::filesystem::path& directory);

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::unique_ptr<TextStream> stream() const override;
  const std::vector<std::string>& pieces() const override { return pieces_; }
  const SpecialTokens& special() const override { return special_; }
  DisplayPiece display(std::int32_t id) const override { return {.text = piece(id)}; }
  /// tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer loads.
  std::map<std::string, std::string> files() const override;

 private:
  explicit CharacterTokenizer(std::vector<std::string> pieces);

  std::vector<std::string> pieces_;
  std::unordered_map<char32_t, std::int32_t> ids_;
  SpecialTokens special_;  // none
};

}  // namespace rapt
