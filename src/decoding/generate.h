/// Writing texts with a language model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "decoding/sampler.h"
#include "decoding/stepper.h"

namespace rapt::decoding {

struct GenerationOptions {
  SamplingOptions sampling = SamplingOptions();  // g++ 12 warns of uninitialised vectors where this is {}
  std::vector<std::int32_t> stop = {};           ///< tokens that end a text
  std::int32_t max_tokens = 256;                 ///< written after the prompt; never more than the model holds
  std::int32_t samples = 1;                      ///< texts for each prompt, which is read once
  std::vector<std::uint64_t> streams = {};       ///< random stream of each text; empty: its place among the results
  bool log_probabilities = false;                ///< fill Generation::log_probabilities
};

enum class Finish {
  stop,       ///< a stop token was drawn
  length,     ///< max_tokens were written, or the model holds no more
  cancelled,  ///< the caller wanted no more
};

struct Generation {
  std::vector<std::int32_t> tokens = {};           ///< without the prompt and without the stop token
  std::optional<std::int32_t> end = std::nullopt;  ///< the stop token, if one was drawn
  /// Of each token and then of the stop token, by the model's logits as they are: temperature, penalties and what may
  /// not be drawn do not count.
  std::vector<double> log_probabilities = {};
  Finish finish = Finish::length;
};

/// Called with each token written, in the order of the texts within a step; false ends that text.
using OnToken = std::function<bool(std::int32_t text, std::int32_t token)>;

/// Continues each prompt; results in the order of the prompts, those of one prompt side by side. `stepper` holds one
/// hypothesis a prompt, which may have the first tokens of the prompt already, and has room for one a text; each leaves
/// when its text ends, but the last one stays. A text depends on its prompt, its seed and its stream, not on the number
/// of threads nor on what shares the batch. Throws Error for options that make no sense and, naming the step, for
/// logits that are not numbers; what `on_token` throws passes through.
std::vector<Generation> generate(Context& ctx, Stepper& stepper, const RaggedTokens& prompts,
                                 const GenerationOptions& options, const OnToken& on_token = {});

}  // namespace rapt::decoding
