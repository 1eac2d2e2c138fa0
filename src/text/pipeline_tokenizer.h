/// Tokenizers as Hugging Face's tokenizers library describes them, in tokenizer.json: added tokens are found, what lies
/// between is normalised and cut into words, a model cuts those into pieces, special tokens go around the whole.
/// https://huggingface.co/docs/tokenizers/pipeline
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/pipeline/added_tokens.h"
#include "text/pipeline/decoder.h"
#include "text/pipeline/model.h"
#include "text/pipeline/normalizer.h"
#include "text/pipeline/post_processor.h"
#include "text/pipeline/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace rapt {

/// Gives the ids and texts that transformers gives. Categories of characters are those of Unicode 15.
class PipelineTokenizer final : public Tokenizer {
 public:
  /// Reads tokenizer.json, and tokenizer_config.json and special_tokens_map.json if they are there. Null if
  /// tokenizer.json is of a tokenizer of whole words (see CharacterTokenizer). Throws Error for a file that is damaged
  /// and for every rule and setting that could change the result and that rapt does not know.
  static std::unique_ptr<PipelineTokenizer> read(const std::filesystem::path& directory);
  /// The same from the texts of the files, by name. files() gives them back, or those in `written` if they were made of
  /// others.
  static std::unique_ptr<PipelineTokenizer> of_files(const std::map<std::string, std::string>& files) {
    return of_files(files, files);
  }
  static std::unique_ptr<PipelineTokenizer> of_files(const std::map<std::string, std::string>& files,
                                                     std::map<std::string, std::string> written);

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::unique_ptr<TextStream> stream() const override;
  const std::vector<std::string>& pieces() const override { return pieces_; }
  const SpecialTokens& special() const override { return special_; }
  DisplayPiece display(std::int32_t id) const override;
  std::string bytes(std::int32_t id) const override;
  std::map<std::string, std::string> files() const override { return files_; }

 private:
  /// How the pieces of words look.
  enum class PieceStyle { bytes, metaspace, word_piece, word_suffix };
  class Stream;

  PipelineTokenizer() = default;
  void read_rules(const JsonObject& json);
  void read_tokens(const JsonObject& json, const JsonObject& config, const JsonObject& map);
  void read_surroundings(const JsonObject& json, const JsonObject& config);
  void surround_as_nllb(const JsonObject& config);
  void read_clean_up(const JsonObject& json, const JsonObject& config);
  void append_ids(std::string_view text, bool starts_text, std::vector<std::int32_t>& ids) const;
  std::int32_t find(std::string_view piece) const;

  std::map<std::string, std::string> files_;
  Normalizer normalizer_;  // may be empty, as the next one
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<SubwordModel> model_;
  AddedTokens added_;
  Surroundings surroundings_;
  DecoderFactory decoder_;
  PieceStyle style_ = PieceStyle::metaspace;
  bool clean_up_ = false;
  std::vector<std::string> pieces_;  // of the model and added ones
  SpecialTokens special_;
};

}  // namespace rapt
