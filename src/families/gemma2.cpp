#include <cmath>

#include "families/common.h"
#include "families/llama_like.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  llama_like::read(json, config);
  if (config.decoder_kv_heads == 0) config.decoder_kv_heads = 4;
  llama_like::read_attention_bias(json, config);
  const std::int64_t scalar = json.find_integer("query_pre_attn_scalar", {.min = 1}).value_or(256);
  config.attention_scale = 1 / std::sqrt(static_cast<double>(scalar));
  if (is_null(json, "attn_logit_softcapping")) config.attention_soft_cap = 0;
  if (is_null(json, "final_logit_softcapping")) config.logits_soft_cap = 0;
  std::vector<bool> sliding;
  for (int layer = 0; layer < config.decoder_layers; ++layer) sliding.push_back(layer % 2 == 0);
  sliding = read_layer_types(json, config).value_or(sliding);
  const auto window = json.find_integer("sliding_window", {.min = 1, .max = 1 << 30}).value_or(4096);
  const Json& early = json.value("sliding_window_size");  // what the first files call it besides
  if (!early.is_null() && early != window) json.refuse("sliding_window_size", "the same as sliding_window");
  set_windows(config, window, sliding);
}

void write(const ModelConfig& config, OrderedJson& json) {
  llama_like::write(config, json);
  llama_like::write_attention_bias(config, json);
  if (config.activation == kernels::Activation::gelu_tanh) json["hidden_activation"] = "gelu_pytorch_tanh";
  json["query_pre_attn_scalar"] = std::llround(1 / (config.attention_scale * config.attention_scale));
  if (config.attention_soft_cap == 0) json["attn_logit_softcapping"] = nullptr;
  if (config.logits_soft_cap == 0) json["final_logit_softcapping"] = nullptr;
  write_layer_types(config, json);
}

void set_defaults(ModelConfig& config) {
  config.vocab = 256000;
  config.d_model = 2304;
  config.decoder_ff = 9216;
  config.decoder_layers = 26;
  config.decoder_heads = 8;
  config.d_head = 256;
  config.max_positions = 8192;
  config.activation = kernels::Activation::gelu_tanh;
  config.norm = NormPlacement::sandwich;
  config.norm_weight_offset = 1;
  config.attention_soft_cap = 50;
  config.logits_soft_cap = 30;
  config.scale_embedding = config.round_embedding_scale = true;
  config.tied_output = true;
  config.pad = 0;
  config.eos = 1;
  config.bos = 2;
}

std::vector<TensorRule> tensors() {
  return joined(llama_like::tensors_but_second_norm(),
                {{"model.layers.{}.post_attention_layernorm", {"decoder.{}.self_attention_after_norm"}},
                 {"model.layers.{}.pre_feedforward_layernorm", {"decoder.{}.feed_forward_norm"}},
                 {"model.layers.{}.post_feedforward_layernorm", {"decoder.{}.feed_forward_after_norm"}}});
}

Family make() {
  Family family = llama_like::family("gemma2", "Gemma2ForCausalLM");
  set_defaults(family.defaults);
  std::erase_if(family.fields, [](const ConfigField& field) { return field.key == "hidden_act"; });
  family.fields = joined(std::move(family.fields), {{"hidden_activation", &ModelConfig::activation},
                                                    {"attn_logit_softcapping", &ModelConfig::attention_soft_cap},
                                                    {"final_logit_softcapping", &ModelConfig::logits_soft_cap}});
  family.constants.push_back({"use_bidirectional_attention", false});
  family.irrelevant.push_back("hidden_act");
  family.read = read;
  family.write = write;
  family.tensors = tensors();
  return family;
}

}  // namespace

/// Gemma 2: every other layer has a window, norms before and after each sublayer, capped scores and logits.
/// https://huggingface.co/docs/transformers/model_doc/gemma2
const Family gemma2 = make();

}  // namespace rapt
