#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  if (config.decoder_kv_heads == 0 && !json.has("num_key_value_heads")) config.decoder_kv_heads = 8;
  if (is_null(json, "sliding_window")) return;
  const auto window = json.find_integer("sliding_window", {.min = 1, .max = 1 << 30});
  set_windows(config, window.value_or(4096), std::vector<bool>(static_cast<std::size_t>(config.decoder_layers), true));
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  write_layer_types(config, json);
  json.erase("layer_types");  // Mistral's layers are all alike
}

Family make() {
  Family family = llama_like::family("mistral", "MistralForCausalLM");
  family.defaults.decoder_ff = 14336;
  family.defaults.max_positions = 4096 * 32;
  family.defaults.bos = 1;
  family.defaults.eos = 2;
  family.read = read;
  family.write = write;
  return family;
}

}  // namespace

/// Mistral: Llama with a sliding window.  https://huggingface.co/docs/transformers/model_doc/mistral
const Family mistral = make();

}  // namespace rapt
