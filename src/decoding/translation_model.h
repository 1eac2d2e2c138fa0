/// A translation model with its tokenizer: text to text, and the attention in between.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "attention/capture.h"
#include "decoding/generation_config.h"
#include "decoding/translation.h"
#include "model/transformer.h"
#include "rapt/translator.h"
#include "text/text_frame.h"
#include "text/tokenizer.h"

namespace rapt::decoding {

/// A stretch of a line that the model reads at once.
struct TranslatedPart {
  std::vector<std::int32_t> source;    ///< ids, the end of the sentence included
  std::vector<Hypothesis> hypotheses;  ///< best first
};

/// What a person who waits may want to hear.
struct TranslationObserver {
  /// Before the work: lines[line] is translated in so many parts, because it is longer than the model reads.
  std::function<void(std::size_t line, std::size_t parts)> on_parts = {};
  std::function<void(double part)> on_progress = {};  ///< see TranslationOptions
  std::int64_t first_line = 1;                        ///< what errors call lines[0]
};

class TranslationModel {
 public:
  /// Throws Error when the directory holds no encoder-decoder, its vocabulary does not fit the tokenizer, or the
  /// tokenizer does not have the languages.
  TranslationModel(const std::filesystem::path& directory, const TranslatorOptions& options);

  const Transformer& model() const { return *model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  Context& context() { return ctx_; }
  /// What the decoder reads first.
  std::int32_t decoder_start() const;
  /// The ids of a text to translate, and of a translation, with the special tokens around them.
  std::vector<std::int32_t> encode_source(std::string_view text) const;
  std::vector<std::int32_t> encode_target(std::string_view text) const;

  /// Translates every line, each in as many parts as its length needs (none when it is empty). Throws Error for a line
  /// that the memory has no room to translate.
  std::vector<std::vector<TranslatedPart>> translate(std::span<const std::string> lines,
                                                     const TranslateOptions& options,
                                                     const TranslationObserver& observer = {});
  /// Puts the parts of a line together: its `nbest` translations.
  std::vector<Translation> join(const std::vector<TranslatedPart>& parts, const TranslateOptions& options);
  /// What the model attends to while it writes one hypothesis, its end included.
  std::vector<CapturedAttention> attention(const TranslatedPart& part, const Hypothesis& hypothesis,
                                           std::set<AttentionKind> kinds);
  /// Layers that the last call of attention() could not tell of.
  const std::vector<AbsentAttention>& absent_attention() const { return absent_; }

 private:
  TranslationOptions search_options(const TranslateOptions& options) const;
  std::vector<AlignedWords> align(const TranslatedPart& part, const Hypothesis& hypothesis, int layer);

  Context ctx_;
  bool computed_ = false;  // whether the weights are in memory
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  GenerationConfig config_;
  std::optional<PairFrames> frames_;         // where languages were named
  std::vector<std::int32_t> without_piece_;  // never written
  std::vector<AbsentAttention> absent_;
};

/// Tokens of a hypothesis with the end of the sentence, if it was written.
std::vector<std::int32_t> written_tokens(const Hypothesis& hypothesis);

}  // namespace rapt::decoding
