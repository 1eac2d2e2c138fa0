/// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rapt {

/// Ids of the tokens that stand for no text; empty where a tokenizer has no such token.
struct SpecialTokens {
  std::optional<std::int32_t> pad;
  std::optional<std::int32_t> eos;
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> unk;
  std::optional<std::int32_t> mask = {};

  bool contains(std::int32_t id) const { return id == pad || id == eos || id == bos || id == unk || id == mask; }
};

/// A piece of text as a person should see it.
struct DisplayPiece {
  std::string text;          ///< without the mark of a word's beginning
  bool starts_word = false;  ///< to be shown with a space before it
  bool special = false;      ///< stands for no text; `text` is the token's name
};

struct EncodeOptions {
  bool special_tokens = true;  ///< those that models of this kind expect around a whole text
};

/// Text that comes token by token. Must not outlive its tokenizer.
class TextStream {
 public:
  virtual ~TextStream() = default;

  /// Takes the next token; gives the text that nothing which follows can change: whole characters, maybe none. Throws
  /// Error for an id that is not in the vocabulary.
  virtual std::string add(std::int32_t id) = 0;
  /// The rest of the text. What add() and finish() give, joined, is what decode() gives for all tokens.
  virtual std::string finish() = 0;
};

/// What turns text into token ids and back. Immutable, so that threads may share it.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// The ids of a text. Special tokens that the text spells out become tokens whatever the options say. Throws Error
  /// unless `text` is valid UTF-8, or where the tokenizer cannot express it.
  virtual std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  /// The text of some ids, special tokens left out. Throws Error for an id that is not in the vocabulary.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  /// The same one by one. A tokenizer that cannot tell what is certain gives all of the text at the end.
  virtual std::unique_ptr<TextStream> stream() const;
  /// The vocabulary: pieces as the tokenizer's files spell them, by id. Empty where no piece has the id.
  virtual const std::vector<std::string>& pieces() const = 0;
  virtual const SpecialTokens& special() const = 0;
  /// How to show a piece; throws Error for an id that is not in the vocabulary.
  virtual DisplayPiece display(std::int32_t id) const = 0;
  /// The tokenizer of what the model writes. This one, unless the model translates: then this one is for the language
  /// it reads and the target for the language it writes. Lives as long as this one.
  virtual const Tokenizer& target() const { return *this; }
  /// The bytes of a text that a piece stands for, which may be a part of a character; spaces may be missing. Empty for
  /// special tokens. Throws Error for an id that is not in the vocabulary.
  virtual std::string bytes(std::int32_t id) const;
  /// The tokenizer's files in Hugging Face's formats: name -> contents. Both tokenizers of a model that translates give
  /// the files of both.
  virtual std::map<std::string, std::string> files() const = 0;

  /// Writes the files into an existing directory.
  void write(const std::filesystem::path& directory) const;
  std::int32_t vocab_size() const { return static_cast<std::int32_t>(pieces().size()); }

 protected:
  /// The piece of an id; throws Error if there is none.
  const std::string& piece(std::int32_t id) const;
};

/// Reads the tokenizer of a GGUF file, or of a Hugging Face model directory: a MarianTokenizer if source.spm is there,
/// what tokenizer.json describes if that is, else a SentencePieceTokenizer. Throws Error for what rapt does not
/// support, naming it.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& directory);

}  // namespace rapt
