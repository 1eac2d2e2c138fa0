/// What the decoder-only models that descend from Llama share: pre-norm with RMSNorm, rotary positions, gated
/// feed-forward, grouped key-value heads.
#pragma once

#include "families/family.h"

namespace rapt::llama_like {

/// The defaults that the code of transformers gives all of them.
ModelConfig defaults(std::string_view family);
std::vector<ConfigField> fields();
std::vector<ConfigConstant> constants();
std::vector<std::string_view> irrelevant(std::initializer_list<std::string_view> more = {});
void read(const JsonObject& json, ModelConfig& config);
void write(const ModelConfig& config, OrderedJson& json);
std::vector<TensorRule> tensors();
/// Without post_attention_layernorm, which is not the same norm in all of them.
std::vector<TensorRule> tensors_but_second_norm();
std::vector<std::pair<std::string_view, std::string_view>> copies();
std::vector<std::string_view> ignored_tensors();

/// use_sliding_window, sliding_window, max_window_layers and layer_types of Qwen: layers from max_window_layers on have
/// a window unless layer_types says otherwise.
void read_qwen_windows(const JsonObject& json, ModelConfig& config);
void write_qwen_windows(const ModelConfig& config, OrderedJson& json);

}  // namespace rapt::llama_like
