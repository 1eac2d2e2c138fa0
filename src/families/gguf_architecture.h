/// What GGUF files say of the models of one architecture, beside what Hugging Face's config.json and tensors say of
/// them.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "formats/gguf_model.h"
#include "formats/json.h"

namespace rapt {

/// A key of the metadata, after the architecture, and the key of config.json for the same.
struct GgufKeyRule {
  enum class Kind { integer, number, boolean };
  std::string_view name;
  std::string_view json;
  Kind kind = Kind::integer;
};

/// A key of the metadata, after the architecture, that must have this value where it is there, since config.json has no
/// word for others; a boolean is 0 or 1.
struct GgufConstant {
  std::string_view name;
  double value;
};

/// A tensor, without ".weight" or ".bias"; {} is a layer's index.
struct GgufNameRule {
  std::string_view name;
  std::string_view hugging_face;
};

struct GgufArchitectureRules {
  std::string_view name;        ///< general.architecture
  std::string_view model_type;  ///< Hugging Face's
  /// Tells those that share a name from each other, the first that applies counts; null: it always does.
  bool (*applies)(const Gguf& file) = nullptr;
  std::vector<GgufKeyRule> keys;
  std::vector<GgufConstant> constants;
  std::vector<std::string_view> irrelevant;  ///< keys that do not change what is computed
  std::string_view head_size;                ///< key of config.json; empty: heads share the model's width
  bool rotary = false;                       ///< positions turn
  std::string_view rotary_fraction;          ///< key of config.json; empty: all of a head turns
  std::vector<GgufNameRule> tensors;
  bool pairs = false;      ///< rows of a head's queries and keys that turn together are neighbours
  bool stacked = false;    ///< matrices are [outputs, inputs], queries on keys on values, where Hugging Face's are not
  double norm_offset = 0;  ///< what was added to norm weights
  /// Adds what needs more than a table.
  void (*complete)(const Gguf& file, const GgufArchitecture& sizes, OrderedJson& json) = nullptr;
};

inline constexpr std::string_view gguf_rotary_factors = "rope_freqs.weight";

/// Llama, Mistral, Qwen2, Qwen3, Gemma 2.
std::vector<GgufArchitectureRules> gguf_llama_like();
/// GPT-2, GPT-NeoX.
std::vector<GgufArchitectureRules> gguf_gpt_like();
/// BERT and what its blocks compute: RoBERTa, XLM-RoBERTa and DistilBERT.
std::vector<GgufArchitectureRules> gguf_bert_like();
/// T5 (1.0, 1.1, Flan), mT5, and encoders of T5 alone.
std::vector<GgufArchitectureRules> gguf_t5_like();

/// The rules of a file's architecture. Throws Error that lists the known ones.
const GgufArchitectureRules& find_architecture(const Gguf& file);

}  // namespace rapt
