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

ModelConfig defaults() {
  ModelConfig config = llama_like::defaults("qwen2");
  config.vocab = 151936;
  config.decoder_ff = 22016;
  config.max_positions = 32768;
  config.query_key_value_bias = true;
  return config;
}

}  // namespace

/// Qwen 2 and 2.5: Llama with biases of queries, keys and values.
/// https://huggingface.co/docs/transformers/model_doc/qwen2
const Family qwen2{.model_type = "qwen2",
                   .architecture = "Qwen2ForCausalLM",
                   .defaults = defaults(),
                   .fields = llama_like::fields(),
                   .constants = llama_like::constants(),
                   .irrelevant = llama_like::irrelevant({"use_mrope"}),
                   .read = read,
                   .write = write,
                   .optional_prefix = "model.",
                   .tensors = llama_like::tensors(),
                   .copies = llama_like::copies(),
                   .ignored_tensors = llama_like::ignored_tensors()};

}  // namespace rapt
