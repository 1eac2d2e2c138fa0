/// Tokenizers of directories that have a SentencePiece model and no tokenizer.json: Llama's, T5's and XLM-RoBERTa's
/// kind.
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

#include "text/pipeline/added_tokens.h"
#include "text/pipeline/decoder.h"
#include "text/pipeline/post_processor.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace rapt {

/// The pieces and ids of SentencePiece itself, numbered as transformers numbers them for the class that
/// tokenizer_config.json names:
///   LlamaTokenizer, GemmaTokenizer   the model's own ids; bos before a text
///   T5Tokenizer                      the model's own ids, <extra_id_99> to <extra_id_0> behind them; eos after a text
///   XLMRobertaTokenizer              <s>, <pad>, </s>, <unk>, the model's pieces, <mask>; <s> before and </s> after
class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// Whether a directory has a model under one of the names that such tokenizers use.
  static bool is_in(const std::filesystem::path& directory);
  /// Reads the model, tokenizer_config.json and special_tokens_map.json. Throws Error for a class or setting that is
  /// not known.
  static std::unique_ptr<SentencePieceTokenizer> read(const std::filesystem::path& directory);

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::unique_ptr<TextStream> stream() const override;
  const std::vector<std::string>& pieces() const override { return pieces_; }
  const SpecialTokens& special() const override { return special_; }
  DisplayPiece display(std::int32_t id) const override;
  std::map<std::string, std::string> files() const override { return files_; }

 private:
  SentencePieceTokenizer() = default;
  void number_pieces(std::vector<std::string> of_model, std::int64_t extra_ids);
  void add_tokens(const JsonObject& config, const JsonObject& map);
  std::int32_t id_of(const std::string& piece) const;
  bool is_special(std::int32_t id) const { return special_.contains(id) || added_.is_special(id); }
  class Stream;

  enum class Numbering { llama, t5, xlm_roberta };

  std::map<std::string, std::string> files_;
  Numbering numbering_ = Numbering::llama;
  std::unique_ptr<SentencePieceModel> model_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string, std::int32_t> ids_;
  AddedTokens added_;
  SpecialTokens special_;
  Surroundings surroundings_;
  DecoderFactory decoder_;
};

}  // namespace rapt
