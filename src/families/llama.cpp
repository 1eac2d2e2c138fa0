#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  llama_like::read_attention_bias(json, config);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  llama_like::write_attention_bias(config, json);
}

Family make() {
  Family family = llama_like::family("llama", "LlamaForCausalLM");
  family.defaults.bos = 1;
  family.defaults.eos = 2;
  family.fields.push_back({"mlp_bias", &ModelConfig::feed_forward_bias});
  family.read = read;
  family.write = write;
  return family;
}

}  // namespace

/// Llama 2 and 3, SmolLM2 and others of this code.  https://huggingface.co/docs/transformers/model_doc/llama
const Family llama = make();

}  // namespace rapt
