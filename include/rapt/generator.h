/// Text generation with a decoder-only language model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rapt/error.h"
#include "rapt/precision.h"
#include "rapt/translator.h"

namespace rapt {

struct GeneratorOptions {
  int threads = 0;                       ///< 0: as many as the process may use
  Precision precision = Precision::f32;  ///< of activations and products
  /// Of cached keys and values; when not set, as precision. bf16 takes half of the memory, and of the time in which a
  /// long text's cache is read.
  std::optional<Precision> cache = std::nullopt;
  /// Changes how layers attend, in place of what the directory says. The language is described in docs/design.md,
  /// section 9.
  std::string attention = {};
};

/// How tokens are drawn. What is not set is as the model's generation_config.json has it; where that says nothing, off:
/// tokens are drawn from the model's own probabilities.
struct SamplingChoices {
  std::optional<double> temperature = std::nullopt;  ///< logits are divided by it; 0: always the likeliest token
  std::optional<int> top_k = std::nullopt;           ///< only from the k likeliest tokens; 0: off
  std::optional<double> top_p = std::nullopt;  ///< only from the likeliest that together have this probability; 1: off
  std::optional<double> min_p = std::nullopt;  ///< only from those this many times as likely as the likeliest; 0: off
  std::optional<double> repetition_penalty = std::nullopt;  ///< over 1: tokens that were there become less likely
};

struct GenerateOptions {
  int max_tokens = 256;  ///< written after the prompt and the prefix; never more than the model holds
  SamplingChoices sampling = {};
  std::uint64_t seed = 1;
  std::uint64_t stream = 0;  ///< random stream of the first text; the others have the ones that follow
  int samples = 1;           ///< texts for each prompt
  int beam = 0;              ///< hypotheses of beam search, which takes the place of drawing; 0: tokens are drawn
  int nbest = 1;             ///< texts for each prompt when beams are searched, best first, at most `beam`
  LengthPenalty length_penalty = LengthPenalty::average;  ///< of beams
  std::optional<double> alpha = std::nullopt;  ///< of the length penalty; when not set: 0.6 (paper), 1 (average)
  std::vector<std::string> stop = {};          ///< a text ends before the first of these that it would have
  std::string prefix = {};                     ///< what each text is made to begin with, at no cost
  bool log_probabilities = false;              ///< fill GeneratedToken::log_probability; beam search always does
  int batch_tokens = 16384;  ///< tokens, prompts included, that the texts written together may come to
};

/// Why a text ends.
enum class FinishReason {
  end,        ///< the model wrote a token that ends texts
  stop,       ///< one of GenerateOptions::stop came
  length,     ///< max_tokens
  context,    ///< the model holds no more
  cancelled,  ///< the caller wanted no more
};
std::string_view name_of(FinishReason reason);

struct GeneratedToken {
  std::int32_t id = 0;
  std::string text = {};       ///< whole characters that it brought: maybe none, maybe some that earlier tokens began
  double log_probability = 0;  ///< by the model's logits as they are, whatever it was drawn from
};

struct GeneratedText {
  std::string text;                    ///< the prefix, and the texts of the tokens
  std::vector<GeneratedToken> tokens;  ///< that the model wrote, the one that ended the text included
  std::int64_t prompt_tokens = 0;      ///< that the model read, those of the prefix included
  double log_probability = 0;          ///< sum over the tokens
  double score = 0;                    ///< of beam search: log_probability / length penalty
  FinishReason finish = FinishReason::length;
};

/// Called with the texts as they grow, by the place of the prompt and of the text among those of the prompt; false ends
/// that text. What is shown is certain: no part of a stop string. Not called in beam search.
using OnText = std::function<bool(std::size_t prompt, std::size_t sample, std::string_view more)>;

/// A language model in a Hugging Face directory or a GGUF file, ready to write. One generator is used by one thread at
/// a time; several in one process do not disturb each other.
class Generator {
 public:
  /// Reads the model, its tokenizer and generation_config.json. Throws Error naming file and place when something is
  /// amiss, or when the model is not decoder-only.
  explicit Generator(const std::filesystem::path& model, const GeneratorOptions& options = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  /// One text that continues a prompt.
  std::string generate(const std::string& prompt, const GenerateOptions& options = {});
  /// For each prompt its texts. A text is the same whatever shares the call, for the same seed and stream. Throws Error
  /// for options that make no sense and for invalid UTF-8; what `on_text` throws passes through.
  std::vector<std::vector<GeneratedText>> generate(std::span<const std::string> prompts, const GenerateOptions& options,
                                                   const OnText& on_text = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rapt
