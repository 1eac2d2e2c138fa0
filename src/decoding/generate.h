/// Writing texts with a language model.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "decoding/sampler.h"
#include "decoding/stepper.h"

namespace rapt::decoding {

struct GenerateOptions {
  SamplingOptions sampling = SamplingOptions();  // g++ 12 warns of uninitialised vectors where this is {}
  std::vector<std::int32_t> stop = {};           ///< tokens that end a text
  std::int32_t max_tokens = 256;                 ///< written after the prompt; never more than the model holds
  std::vector<std::uint64_t> streams = {};       ///< random stream of each text; empty: its place in the batch
};

enum class Finish {
  stop,       ///< a stop token was drawn
  length,     ///< max_tokens were written, or the model holds no more
  cancelled,  ///< the caller wanted no more
};

struct Generation {
  std::vector<std::int32_t> tokens = {};  ///< without the prompt and without the stop token
  Finish finish = Finish::length;
};

/// Called with each token written, in the order of the sequences within a step; false ends that sequence.
using OnToken = std::function<bool(std::int32_t sequence, std::int32_t token)>;

/// Continues each prompt; results in the order of the prompts. `stepper` holds one hypothesis a prompt; each leaves
/// when its text ends. A text depends on its prompt, its seed and its stream, not on the number of threads nor on what
/// shares the batch. Throws Error for options that make no sense and, naming the step, for logits that are not numbers;
/// what `on_token` throws passes through.
std::vector<Generation> generate(Context& ctx, Stepper& stepper, const RaggedTokens& prompts,
                                 const GenerateOptions& options, const OnToken& on_token = {});

}  // namespace rapt::decoding
