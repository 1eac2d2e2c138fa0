#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  llama_like::read_qwen_windows(json, config);
  llama_like::read_attention_bias(json, config);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  llama_like::write_qwen_windows(config, json);
  llama_like::write_attention_bias(config, json);
}

Family make() {
  Family family = llama_like::family("qwen3", "Qwen3ForCausalLM");
  llama_like::set_qwen_defaults(family.defaults);
  family.defaults.d_head = 128;
  family.defaults.query_key_norm = true;
  family.tensors.push_back({"model.layers.{}.self_attn.q_norm", {"decoder.{}.self_attention.query_norm"}});
  family.tensors.push_back({"model.layers.{}.self_attn.k_norm", {"decoder.{}.self_attention.key_norm"}});
  family.read = read;
  family.write = write;
  return family;
}

}  // namespace

/// Qwen 3: Llama with norms of the heads of queries and keys.
/// https://huggingface.co/docs/transformers/model_doc/qwen3
const Family qwen3 = make();

}  // namespace rapt
