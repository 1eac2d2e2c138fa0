/// Translation with an encoder-decoder model.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rapt/error.h"
#include "rapt/precision.h"

namespace rapt {

struct TranslatorOptions {
  int threads = 0;  ///< 0: as many as the process may use
  Precision precision = Precision::f32;
  /// Changes how layers attend, in place of what the directory says: "encoder = window(31, 31); cross = linear elu".
  /// The language is described in docs/design.md, section 9.
  std::string attention = {};
  /// For tokenizers that mark a text with its language, as they write it: en_XX (mBART), en (M2M-100), eng_Latn (NLLB).
  /// Empty: what the model's files say. Translations begin with the target language.
  std::string source_language = {};
  std::string target_language = {};
};

/// What the sum of log-probabilities of a translation of |Y| tokens is divided by.
enum class LengthPenalty {
  average,  ///< |Y|^alpha, as in Hugging Face transformers
  paper,    ///< ((5 + |Y|) / 6)^alpha, as in "Attention Is All You Need", section 6.1 (Wu et al. 2016, eq. 14)
};

struct TranslateOptions {
  int beam = 4;   ///< hypotheses kept while searching; 1: greedy
  int nbest = 1;  ///< translations returned, at most `beam`
  LengthPenalty length_penalty = LengthPenalty::paper;
  std::optional<double> alpha;  ///< when not set: 0.6 (paper), 1 (average)
  /// Log-probabilities of tokens that a translation holds already are multiplied by it (Keskar et al., "CTRL", 2019);
  /// when not set: as generation_config.json says, else 1
  std::optional<double> repetition_penalty = std::nullopt;
  std::string prefix = {};  ///< what each translation is made to begin with, at no cost
  int batch_tokens = 4096;  ///< source tokens translated at once, fewer where the free memory has no room
  bool align = false;       ///< fill Translation::alignment
  int align_layer = -1;  ///< decoder layer whose cross-attention aligns; -1: the last but one (the last of one or two)
};

/// Word `target` of a translation belongs to word `source` of the source; both count whitespace-separated words from 0.
struct AlignedWords {
  int source = 0;
  int target = 0;
};

struct Translation {
  std::string text;
  double score = 0;            ///< log_probability divided by the length penalty; the higher the better
  double log_probability = 0;  ///< of all tokens, the end of the sentence included
  std::vector<AlignedWords> alignment;
};

/// A model in a Hugging Face directory (MarianMT and its kin), ready to translate. One translator is used by one thread
/// at a time; several in one process do not disturb each other.
class Translator {
 public:
  /// Reads config.json, model.safetensors and the tokenizer's files. Throws Error naming file and place when something
  /// is amiss.
  explicit Translator(const std::filesystem::path& directory, const TranslatorOptions& options = {});
  ~Translator();
  Translator(Translator&&) noexcept;
  Translator& operator=(Translator&&) noexcept;

  /// The best translation of one line of text.
  std::string translate(const std::string& line);
  /// For each line its `nbest` translations, best first. An empty line gives empty translations. A line that is longer
  /// than the model can read is translated in parts, cut at the ends of sentences where there are any. Throws Error for
  /// invalid UTF-8, and for a line that takes more memory to translate than is free.
  std::vector<std::vector<Translation>> translate(std::span<const std::string> lines, const TranslateOptions& options);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rapt
