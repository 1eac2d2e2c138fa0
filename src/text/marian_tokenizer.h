/// The tokenizer of MarianMT directories (the OPUS-MT models among them), as transformers' MarianTokenizer reads them:
/// a SentencePiece model cuts text into pieces, and a vocabulary outside of that model numbers the pieces.
/// https://huggingface.co/docs/transformers/model_doc/marian
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace rapt {

/// What a MarianMT directory says about its tokenizer.
struct MarianFiles {
  std::string source_spm;               ///< source.spm: a SentencePiece model, for the language that is read
  std::string target_spm;               ///< target.spm: that for the language that is written; may be the same
  std::vector<std::string> vocabulary;  ///< vocab.json: pieces by id; empty where no piece has the id
  /// target_vocab.json: pieces of the language that is written, by id; none if `vocabulary` serves both languages.
  std::vector<std::string> target_vocabulary;
  // The rest is tokenizer_config.json.
  std::string source_lang;  ///< such as "en"; may be empty
  std::string target_lang;
  std::string eos = "</s>";
  std::string unk = "<unk>";
  std::string pad = "<pad>";
  std::int64_t model_max_length = 512;  ///< tokens of a text, eos included
  bool clean_up_spaces = false;         ///< decoding removes the spaces before punctuation, as English has none
};

/// Languages and length for a new tokenizer.
struct MarianOptions {
  std::string source_lang;
  std::string target_lang;
  std::int64_t model_max_length = 512;
};

/// encode() appends eos. Where a text spells a special token out ("</s>"), that becomes the token, and a language code
/// in front of a text (">>fr<<") one piece, as in transformers. A piece that is not in the vocabulary becomes unk,
/// which decode() leaves out with the other special tokens.
class MarianTokenizer final : public Tokenizer {
 public:
  /// Throws Error unless the files agree: models that can be used, and the same id for each special token in both
  /// vocabularies, because transformers keeps one.
  explicit MarianTokenizer(MarianFiles files);
  ~MarianTokenizer() override;

  /// Reads source.spm, target.spm, vocab.json, tokenizer_config.json and, if that says so, target_vocab.json. Throws
  /// Error for a file that is missing or damaged and for every setting that would change the result and is not known.
  static std::unique_ptr<MarianTokenizer> read(const std::filesystem::path& directory);
  /// One SentencePiece model and one vocabulary for both languages: eos, unk, the pieces of the model, and pad last, as
  /// in every Marian directory.
  static std::unique_ptr<MarianTokenizer> joint(const std::string& spm, const MarianOptions& options = {});
  /// A SentencePiece model and a vocabulary for each language. Throws Error unless the vocabularies are equally large,
  /// because pad is the last token of both.
  static std::unique_ptr<MarianTokenizer> separate(std::string source_spm, std::string target_spm,
                                                   const MarianOptions& options = {});

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  const std::vector<std::string>& pieces() const override;
  const SpecialTokens& special() const override;
  DisplayPiece display(std::int32_t id) const override;
  const Tokenizer& target() const override { return target_ ? *target_ : *this; }
  std::map<std::string, std::string> files() const override;

  /// Whether each language has a vocabulary of its own.
  bool has_separate_vocabularies() const;

 private:
  struct Common;
  struct Language;
  MarianTokenizer(std::shared_ptr<const Common> common, std::shared_ptr<const Language> language);
  void append_ids(std::string_view segment, std::vector<std::int32_t>& ids) const;

  std::shared_ptr<const Common> common_;
  std::shared_ptr<const Language> language_;
  std::unique_ptr<MarianTokenizer> target_;  // none in the target itself
};

}  // namespace rapt
