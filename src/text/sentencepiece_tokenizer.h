/// Tokenizers of directories that have a SentencePiece model and no tokenizer.json: those of Llama's, T5's,
/// XLM-RoBERTa's, mBART's, NLLB's and M2M-100's kind.
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

/// The pieces of SentencePiece itself, with the ids that pretrained models have them at: those of transformers' classic
/// tokenizers, without the library of fast ones. The class is the one that tokenizer_config.json names, else
/// config.json, else the usual one of its model_type:
///   LlamaTokenizer, GemmaTokenizer   the model's own ids; bos before a text
///   T5Tokenizer                      the model's own ids, <extra_id_99> to <extra_id_0> behind them; eos after a text
///   XLMRobertaTokenizer              <s>, <pad>, </s>, <unk>, the model's pieces, <mask>; <s> before and </s> after
///   MBartTokenizer                   the same with languages before <mask>; </s> and the language after a text
///   MBart50Tokenizer                 the same with more languages; the language before and </s> after a text
///   NllbTokenizer                    the same with those of NLLB; as mBART where "legacy_behaviour" is true
///   M2M100Tokenizer                  ids of vocab.json, and languages behind them; the language before and </s> after
/// What marks a text is the language that tokenizer_config.json names ("src_lang"), else English.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// Whether a directory has a model under one of the names that such tokenizers use.
  static bool is_in(const std::filesystem::path& directory);
  /// Reads the model, tokenizer_config.json, special_tokens_map.json and, for M2M100Tokenizer, vocab.json. Throws Error
  /// for a class or setting that is not known.
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
  enum class Numbering;
  enum class Place;
  struct Class;
  static const Class& find_class(const std::filesystem::path& directory, const JsonObject& config,
                                 std::size_t model_pieces);
  void number_pieces(const std::filesystem::path& directory, const JsonObject& config);
  void add_tokens(const JsonObject& config, const JsonObject& map);
  void surround(const JsonObject& config);
  std::int32_t language(const JsonObject& config) const;
  std::int32_t id_of(const std::string& piece) const;
  bool is_special(std::int32_t id) const { return special_.contains(id) || added_.is_special(id); }
  class Stream;

  std::map<std::string, std::string> files_;
  const Class* class_ = nullptr;
  std::unique_ptr<SentencePieceModel> model_;
  std::vector<std::string> pieces_;
  std::vector<std::string> languages_;  // tokens that texts are marked with
  std::unordered_map<std::string, std::int32_t> ids_;
  AddedTokens added_;
  SpecialTokens special_;
  Surroundings surroundings_;
  DecoderFactory decoder_;
  bool clean_up_ = false;
};

}  // namespace rapt
