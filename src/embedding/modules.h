/// The modules that sentence-transformers puts behind an encoder, as a model's directory lists them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "embedding/pooling.h"
#include "kernels/activation.h"
#include "model/layers.h"

namespace rapt::embedding {

/// activation(W x + b) of the pooled vector.
struct Dense {
  Linear linear;
  std::optional<kernels::Activation> activation;
};

/// The pooled vector gets the length 1.
struct Normalize {};

using Module = std::variant<Dense, Normalize>;

struct Modules {
  bool described = false;         ///< by modules.json or a GGUF file; otherwise what one does without
  std::filesystem::path encoder;  ///< directory with config.json, the weights and the tokenizer, or GGUF file
  std::int64_t max_tokens = 0;    ///< of a text, special tokens included; 0: as many as the encoder can read
  bool lower_case = false;        ///< of the text, before the tokenizer sees it
  std::vector<Pooling> poolings = {Pooling::mean};
  std::int64_t pooled_width = 0;  ///< of each pooling, by its config; 0: not said
  bool pools_prompt = true;       ///< the prompt's tokens, too
  std::vector<Module> after;      ///< the pooling
  std::string prompt;             ///< put before every text
};

/// Reads modules.json and what belongs to it: the encoder's sentence_bert_config.json and tokenizer_config.json
/// (model_max_length), the pooling's and dense layers' directories, config_sentence_transformers.json. Without
/// modules.json, the mean of the tokens of the encoder in `directory`. A GGUF file says how tokens are pooled, and the
/// vectors get the length 1. Throws Error, naming file and key, for modules, poolings and settings that rapt does not
/// know.
Modules read_modules(const std::filesystem::path& directory);

}  // namespace rapt::embedding
