/// What a GGUF file says about its model, checked against itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace rapt {

/// The keys "ARCHITECTURE.*" that most architectures share; 0 or nothing where the file does not say.
struct GgufArchitecture {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t context = 0;
  std::int64_t d_model = 0;
  std::int64_t heads = 0;     ///< of the first layer, where layers differ
  std::int64_t kv_heads = 0;  ///< of the first layer; `heads` where the file does not say
  std::int64_t d_head = 0;    ///< of keys
  std::optional<double> norm_epsilon;
  std::optional<double> rotary_base;
};

/// Throws Error naming the key for values that no model can have: sizes out of range or that do not divide each other,
/// more layers than tensors, an embedding of another width than the file says, an epsilon or rotary base that is not
/// finite and positive. Limits: 100,000 layers, 2^30 positions, 2^20 for the other sizes.
GgufArchitecture read_architecture(const Gguf& file);

/// The tokens of a vocabulary, as they lie in the file: any bytes, there as long as the Gguf is.
struct GgufVocabulary {
  std::string_view model;  ///< "llama", "gpt2", ...
  std::vector<std::string_view> tokens;
  std::vector<double> scores;       ///< one a token, or none
  std::vector<std::int64_t> types;  ///< one a token, or none
  std::vector<std::string_view> merges;
};

/// Nothing when the file has no vocabulary. Throws Error naming the key when it has no tokens, another number of them
/// than the embedding has rows or than scores or types, a token that is too long (65,536 bytes) or given twice (empty
/// ones may be), scores that are NaN or infinite, or ids of special tokens that are out of range.
std::optional<GgufVocabulary> read_vocabulary(const Gguf& file);

}  // namespace rapt
