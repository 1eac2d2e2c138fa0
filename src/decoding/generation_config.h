/// What a model's files say about how to write with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "rapt/generator.h"

namespace rapt::decoding {

struct GenerationConfig {
  SamplingChoices sampling = {};       ///< set where the file says so
  std::vector<std::int32_t> end = {};  ///< tokens that end a text, besides those of the model and the tokenizer
  std::optional<std::int32_t> forced_bos = std::nullopt;  ///< what the first token written is forced to be
  std::vector<std::string> ignored = {};                  ///< keys that would change texts and that rapt does not know
};

/// Reads generation_config.json of a directory, if it is there: "do_sample": false means temperature 0, unless it is
/// absent. Of a GGUF file, what it says of the same. Throws Error naming file and key for values that make no sense.
GenerationConfig read_generation_config(const std::filesystem::path& model);

/// `wanted`, and where it says nothing what `otherwise` says.
SamplingChoices merged(const SamplingChoices& wanted, const SamplingChoices& otherwise);

}  // namespace rapt::decoding
