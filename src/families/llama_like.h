/// What the decoder-only models that descend from Llama share: pre-norm with RMSNorm, rotary positions, gated
/// feed-forward, grouped key-value heads.
#pragma once

#include "families/family.h"

namespace rapt::llama_like {

/// Llama without what is Llama's alone, with the defaults that the code of transformers gives all of them; what makes
/// others different is set afterwards.
Family family(std::string_view model_type, std::string_view architecture);

void read(const JsonObject& json, ModelConfig& config);
void write(const ModelConfig& config, OrderedJson& json);
/// attention_bias: of queries, keys, values and the output.
void read_attention_bias(const JsonObject& json, ModelConfig& config);
void write_attention_bias(const ModelConfig& config, OrderedJson& json);
/// Without post_attention_layernorm, which is not the same norm in all of them.
std::vector<TensorRule> tensors_but_second_norm();

/// use_sliding_window, sliding_window, max_window_layers and layer_types of Qwen: layers from max_window_layers on have
/// a window unless layer_types says otherwise.
void read_qwen_windows(const JsonObject& json, ModelConfig& config);
void write_qwen_windows(const ModelConfig& config, OrderedJson& json);
/// What both generations of Qwen have as defaults.
void set_qwen_defaults(ModelConfig& config);

}  // namespace rapt::llama_like
