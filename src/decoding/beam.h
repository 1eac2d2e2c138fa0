/// Beam search: the likeliest continuations of each sentence of a batch.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "decoding/stepper.h"
#include "rapt/translator.h"

namespace rapt::decoding {

/// When the search of a sentence ends, if not at its length limit. The names in brackets are the values of
/// `early_stopping` in Hugging Face transformers with which it shares its results.
enum class Stopping {
  heuristic,  ///< `beam` hypotheses have ended, and the best live one, were it to end now, would not beat the worst of
              ///< them [False]
  first,      ///< `beam` hypotheses have ended [True]
  exact,      ///< no live hypothesis can still become one of the n best, whatever its length ["never"]
};

struct BeamOptions {
  std::int32_t beam = 4;  ///< live hypotheses a sentence; 1 is greedy search, which ends at the first EOS
  std::int32_t nbest = 1;
  LengthPenalty length_penalty = LengthPenalty::average;
  std::optional<double> alpha = std::nullopt;  ///< of the length penalty; when not set, 1 (average) or 0.6 (paper)
  /// Log-probabilities of tokens that a hypothesis holds, first tokens included, are multiplied by it, and not made
  /// probabilities again (Keskar et al., "CTRL", 2019, 4.1, as transformers does it in beam search).
  double repetition_penalty = 1;
  Stopping stopping = Stopping::heuristic;
  std::int32_t eos = -1;                           ///< -1: only the length limit ends a sentence
  std::vector<std::int32_t> more_eos = {};         ///< further tokens that end one
  std::vector<std::int32_t> forbidden = {};        ///< tokens never written; they still count in the softmax
  std::optional<std::int32_t> bos = std::nullopt;  ///< forced to be the first token written, at log-probability 0
  bool force_eos = false;       ///< the last token before the length limit is EOS, at log-probability 0
  std::int32_t min_length = 0;  ///< tokens before EOS, if the length limit allows
  /// The length limit of a sentence, EOS included: factor * (tokens of its source) + offset, rounded down, at least 1,
  /// at most max_length, and what the model holds.
  double max_length_factor = 0;
  std::int32_t max_length_offset = 512;
  std::int32_t max_length = 512;
  /// Whether the tokens written for a sentence end it without EOS; they count as they are. None where empty.
  std::function<bool(std::int32_t sentence, std::span<const std::int32_t> tokens)> is_complete = {};
};

/// One continuation of one sentence.
struct Hypothesis {
  std::vector<std::int32_t> tokens = {};           ///< without the first tokens it was given and without EOS
  double score = 0;                                ///< log_probability / length penalty; the higher the better
  double log_probability = 0;                      ///< sum over the tokens written, EOS included; penalised
  std::vector<double> log_probabilities = {};      ///< of each token, and then of EOS
  std::optional<std::int32_t> end = std::nullopt;  ///< the EOS that ended it, if one did
};

/// The `nbest` best hypotheses of each sentence, best first, in the order of the sentences. `stepper` holds one
/// hypothesis a sentence, to which `first` gives the first tokens; hypotheses multiply up to `beam` a sentence and
/// leave as soon as their sentence is done. `source_lengths`: tokens of each sentence's source; may be empty when
/// max_length_factor is 0. A sentence gets fewer hypotheses only if the model leaves fewer possible.
///
/// The results are those of transformers 5.23.0, `generate(num_beams=beam, do_sample=False)`: each step takes the
/// 2 * beam best continuations over all live hypotheses ((1 + n) * beam where there are n EOS tokens); those among the
/// first `beam` that write EOS (or reach the length limit) end, the best `beam` of the others live on. Among equals the
/// lower hypothesis goes first, then the lower token. The same for any number of threads and whatever sentences share
/// the batch.
///
/// Throws Error for options that make no sense and for logits that are not numbers.
std::vector<std::vector<Hypothesis>> beam_search(Context& ctx, Stepper& stepper, const RaggedTokens& first,
                                                 std::span<const std::int32_t> source_lengths,
                                                 const BeamOptions& options);

}  // namespace rapt::decoding
