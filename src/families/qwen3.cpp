#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  llama_like::read_qwen_windows(json, config);
  config.query_key_value_bias = config.attention_output_bias = json.find_boolean("attention_bias").value_or(false);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  llama_like::write_qwen_windows(config, json);
  json["attention_bias"] = config.query_key_value_bias;
}

ModelConfig defaults() {
  ModelConfig config = llama_like::defaults("qwen3");
  config.vocab = 151936;
  config.decoder_ff = 22016;
  config.d_head = 128;
  config.max_positions = 32768;
  config.query_key_norm = true;
  return config;
}

std::vector<TensorRule> tensors() {
  return joined(llama_like::tensors(), {{"model.layers.{}.self_attn.q_norm", {"decoder.{}.self_attention.query_norm"}},
                                        {"model.layers.{}.self_attn.k_norm", {"decoder.{}.self_attention.key_norm"}}});
}

}  // namespace

/// Qwen 3: Llama with norms of the heads of queries and keys.
/// https://huggingface.co/docs/transformers/model_doc/qwen3
const Family qwen3{.model_type = "qwen3",
                   .architecture = "Qwen3ForCausalLM",
                   .defaults = defaults(),
                   .fields = llama_like::fields(),
                   .constants = llama_like::constants(),
                   .irrelevant = llama_like::irrelevant(),
                   .read = read,
                   .write = write,
                   .optional_prefix = "model.",
                   .tensors = tensors(),
                   .copies = llama_like::copies(),
                   .ignored_tensors = llama_like::ignored_tensors()};

}  // namespace rapt
