/// What the families of several model types share.
#pragma once

#include "families/family.h"

namespace rapt {

/// Keys that transformers writes for any model and that do not change what is computed, and `more` of one family.
std::vector<std::string_view> irrelevant_keys(std::initializer_list<std::string_view> more = {});

/// Whether the key is there and null (find_ getters take absent and null for the same).
bool is_null(const JsonObject& json, std::string_view key);

/// The activation that transformers calls `name`; throws Error naming the key where rapt has none.
kernels::Activation read_activation(const JsonObject& json, std::string_view key, const std::string& name);
std::string_view name_of(kernels::Activation activation);

/// Whether two tensors have one shape and equal elements.
bool same_values(const Tensor& a, const Tensor& b);
/// Whether every element is zero.
bool all_zero(const Tensor& tensor);

/// Joins tables.
template <typename T>
std::vector<T> joined(std::vector<T> first, const std::vector<T>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Rotary positions: rope_parameters of transformers 5, rope_theta and rope_scaling of earlier versions. Keys that are
/// absent leave the config as it is. Throws Error for kinds of scaling that the config cannot express.
void read_rotary(const JsonObject& json, ModelConfig& config);
void write_rotary(const ModelConfig& config, OrderedJson& json);

/// The factor that YaRN recommends for what is turned, where positions are divided by `factor` (Peng et al. 2023, 3.4).
double yarn_attention_factor(double factor);

/// Sliding windows: layer i of the decoder sees its last `window` tokens where sliding[i], all earlier ones elsewhere.
void set_windows(ModelConfig& config, std::int64_t window, const std::vector<bool>& sliding);
/// The window of each layer; 0 where it has none that these keys can say.
std::vector<std::int64_t> windows_of(const ModelConfig& config);
/// Reads "layer_types" ("sliding_attention" or "full_attention" for each layer), if it is there.
std::optional<std::vector<bool>> read_layer_types(const JsonObject& json, const ModelConfig& config);
/// Writes "sliding_window" (null if no layer has one) and "layer_types".
void write_layer_types(const ModelConfig& config, OrderedJson& json);

}  // namespace rapt
