#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  config.query_key_value_bias = config.attention_output_bias = json.find_boolean("attention_bias").value_or(false);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  json["attention_bias"] = config.query_key_value_bias;
}

ModelConfig defaults() {
  ModelConfig config = llama_like::defaults("llama");
  config.bos = 1;
  config.eos = 2;
  return config;
}

}  // namespace

/// Llama 2 and 3, SmolLM2 and others of this code.  https://huggingface.co/docs/transformers/model_doc/llama
const Family llama{.model_type = "llama",
                   .architecture = "LlamaForCausalLM",
                   .defaults = defaults(),
                   .fields = joined(llama_like::fields(), {{"mlp_bias", &ModelConfig::feed_forward_bias}}),
                   .constants = llama_like::constants(),
                   .irrelevant = llama_like::irrelevant(),
                   .read = read,
                   .write = write,
                   .optional_prefix = "model.",
                   .tensors = llama_like::tensors(),
                   .copies = llama_like::copies(),
                   .ignored_tensors = llama_like::ignored_tensors()};

}  // namespace rapt
