#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  llama_like::read_qwen_windows(json, config);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  llama_like::write_qwen_windows(config, json);
}

Family make() {
  Family family = llama_like::family("qwen2", "Qwen2ForCausalLM");
  llama_like::set_qwen_defaults(family.defaults);
  family.defaults.query_key_value_bias = true;
  family.irrelevant.push_back("use_mrope");
  family.read = read;
  family.write = write;
  return family;
}

}  // namespace

/// Qwen 2 and 2.5: Llama with biases of queries, keys and values.
/// https://huggingface.co/docs/transformers/model_doc/qwen2
const Family qwen2 = make();

}  // namespace rapt
