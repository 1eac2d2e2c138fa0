/// A family: how one Hugging Face model type is read and written. Families are data; families/checkpoint.h works with
/// them.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/tensor.h"
#include "families/checkpoint_tensor.h"
#include "formats/json.h"
#include "model/config.h"

namespace rapt {

/// ModelConfig::eos and more_eos: a token or a list of tokens.
struct EndTokens {};

/// A key of config.json and the field it sets.
struct ConfigField {
  std::string_view key;
  std::variant<std::int64_t ModelConfig::*, std::int32_t ModelConfig::*, double ModelConfig::*, float ModelConfig::*,
               bool ModelConfig::*, kernels::Activation ModelConfig::*, EndTokens>
      member;
};

/// A key of config.json that must have this value where it is present, because another one would change the
/// mathematics.
struct ConfigConstant {
  std::string_view key;
  Json value;
};

/// How a checkpoint's tensor relates to rapt's [outputs, inputs].
enum class TensorLayout {
  plain,
  transposed,         ///< stored [inputs, outputs]
  interleaved_heads,  ///< rows are [heads, 3, d_head]: query, key and value of each head next to each other
};

/// A tensor of the checkpoint, or several ({} is a layer's index, and a name without ending stands for its .weight and
/// its .bias), and rapt's parameters it holds, stacked along the outputs.
struct TensorRule {
  std::string_view name;
  std::vector<std::string_view> parameters;
  TensorLayout layout = TensorLayout::plain;
};

struct Family {
  std::string_view model_type;    ///< config.json's "model_type"
  std::string_view architecture;  ///< class of transformers that loads it
  ModelConfig defaults;           ///< of keys that are absent
  std::vector<ConfigField> fields;
  std::vector<ConfigConstant> constants;
  std::vector<std::string_view> irrelevant;  ///< keys that do not change what is computed
  /// Reads and writes what a table cannot express.
  void (*read)(const JsonObject& json, ModelConfig& config) = nullptr;
  void (*write)(const ModelConfig& config, OrderedJson& json) = nullptr;
  /// Sets what config.json does not say but the tensors of a file do: which heads it has.
  void (*detect)(const CheckpointTensors& tensors, ModelConfig& config) = nullptr;
  std::string_view optional_prefix;  ///< of tensor names; some files leave it out
  std::vector<TensorRule> tensors;
  /// Tensors that repeat others or can be computed; they may be present, and are then compared with what they repeat.
  std::vector<std::pair<std::string_view, std::string_view>> copies;
  std::vector<std::string_view> ignored_tensors;  ///< constant buffers that some versions of transformers save
};

extern const Family bart;
extern const Family bert;
extern const Family camembert;
extern const Family distilbert;
extern const Family gemma2;
extern const Family gpt2;
extern const Family gpt_neox;
extern const Family llama;
extern const Family m2m_100;
extern const Family marian;
extern const Family mbart;
extern const Family mistral;
extern const Family mt5;
extern const Family pegasus;
extern const Family qwen2;
extern const Family qwen3;
extern const Family roberta;
extern const Family t5;
extern const Family xlm_roberta;

/// The family of a model type. Throws Error that lists the known ones.
const Family& find_family(std::string_view model_type);

}  // namespace rapt
