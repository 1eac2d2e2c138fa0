#include "families/common.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace rapt {
namespace {

constexpr NumberRange positive{.min = 0, .exclude_min = true};
constexpr NumberRange fraction{.min = 0, .max = 1, .exclude_min = true};

constexpr std::pair<std::string_view, kernels::Activation> activation_names[] = {
    {"relu", kernels::Activation::relu},           {"gelu", kernels::Activation::gelu},
    {"gelu_new", kernels::Activation::gelu_tanh},  {"gelu_pytorch_tanh", kernels::Activation::gelu_tanh},
    {"gelu_fast", kernels::Activation::gelu_tanh}, {"silu", kernels::Activation::silu},
    {"swish", kernels::Activation::silu}};

/// The names that rope_type has for kinds of scaling.
constexpr std::pair<std::string_view, RotaryScaling::Kind> scaling_names[] = {{"default", RotaryScaling::Kind::none},
                                                                              {"linear", RotaryScaling::Kind::linear},
                                                                              {"llama3", RotaryScaling::Kind::llama3},
                                                                              {"yarn", RotaryScaling::Kind::yarn}};

RotaryScaling::Kind read_kind(const JsonObject& rope) {
  const std::string_view key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string older = rope.find_text("type").value_or("default");
  const std::string name = rope.find_text("rope_type").value_or(older);
  for (const auto& [known, kind] : scaling_names) {
    if (name == known) return kind;
  }
  rope.refuse(key,
              "default, linear, llama3 or yarn (what dynamic and longrope compute depends on the whole text, so "
              "that cached tokens would have to be computed anew)");
}

void read_scaling(const JsonObject& rope, ModelConfig& config) {
  RotaryScaling scaling{.kind = read_kind(rope)};
  const auto original = [&] {
    return rope.find_integer("original_max_position_embeddings", {.min = 1}).value_or(config.max_positions);
  };
  if (scaling.kind != RotaryScaling::Kind::none) scaling.factor = rope.number("factor", positive);
  if (scaling.kind == RotaryScaling::Kind::llama3) {
    scaling.original_positions = original();
    scaling.low_frequency_factor = rope.number("low_freq_factor", positive);
    scaling.high_frequency_factor = rope.number("high_freq_factor", positive);
  }
  if (scaling.kind == RotaryScaling::Kind::yarn) {
    scaling.original_positions = original();
    scaling.beta_fast = rope.find_number("beta_fast", positive).value_or(scaling.beta_fast);
    scaling.beta_slow = rope.find_number("beta_slow", positive).value_or(scaling.beta_slow);
    scaling.truncate = rope.find_boolean("truncate").value_or(true);
    scaling.attention_factor =
        rope.find_number("attention_factor", positive).value_or(yarn_attention_factor(scaling.factor));
  }
  config.rotary_scaling = scaling;
}

void read_rope(const JsonObject& rope, ModelConfig& config) {
  config.rotary_base = rope.find_number("rope_theta", positive).value_or(config.rotary_base);
  config.rotary_fraction = rope.find_number("partial_rotary_factor", fraction).value_or(config.rotary_fraction);
  read_scaling(rope, config);
}

OrderedJson rope_of(const ModelConfig& config) {
  const RotaryScaling& scaling = config.rotary_scaling;
  OrderedJson rope;
  for (const auto& [name, kind] : scaling_names) {
    if (kind == scaling.kind) rope["rope_type"] = name;
  }
  rope["rope_theta"] = config.rotary_base;
  if (config.rotary_fraction != 1) rope["partial_rotary_factor"] = config.rotary_fraction;
  if (scaling.kind == RotaryScaling::Kind::none) return rope;
  rope["factor"] = scaling.factor;
  if (scaling.kind == RotaryScaling::Kind::linear) return rope;
  rope["original_max_position_embeddings"] = scaling.original_positions;
  if (scaling.kind == RotaryScaling::Kind::llama3) {
    rope["low_freq_factor"] = scaling.low_frequency_factor;
    rope["high_freq_factor"] = scaling.high_frequency_factor;
  } else {
    rope["beta_fast"] = scaling.beta_fast;
    rope["beta_slow"] = scaling.beta_slow;
    rope["truncate"] = scaling.truncate;
    rope["attention_factor"] = scaling.attention_factor;
  }
  return rope;
}

attention::Visibility window_visibility(std::int64_t window) {
  return attention::Visibility::window(static_cast<std::int32_t>(window - 1), 0);
}

/// The inverse of window_visibility; 0 for everything else.
std::int64_t window_of(const LayerAttention& layer) {
  constexpr std::string_view begin = "window(";
  const std::string text = layer.text();
  if (!text.starts_with(begin)) return 0;
  std::int64_t left = -1;
  std::from_chars(text.data() + begin.size(), text.data() + text.size(), left);
  return left >= 0 && window_visibility(left + 1).text() == text ? left + 1 : 0;
}

}  // namespace

double yarn_attention_factor(double factor) {
  return factor > 1 ? 0.1 * std::log(factor) + 1 : 1;
}

std::vector<std::string_view> irrelevant_keys(std::initializer_list<std::string_view> more) {
  // How to train, to search or to label, and what the file was made with.
  std::vector<std::string_view> keys{"_name_or_path",
                                     "_model_name_or_path",
                                     "_attn_implementation",
                                     "_num_labels",
                                     "architectures",
                                     "auto_map",
                                     "bad_words_ids",
                                     "begin_suppress_tokens",
                                     "cache_implementation",
                                     "chunk_size_feed_forward",
                                     "classifier_dropout",
                                     "custom_pipelines",
                                     "decoder_start_token_id",
                                     "diversity_penalty",
                                     "do_sample",
                                     "dtype",
                                     "early_stopping",
                                     "encoder_no_repeat_ngram_size",
                                     "exponential_decay_length_penalty",
                                     "finetuning_task",
                                     "forced_bos_token_id",
                                     "forced_eos_token_id",
                                     "gradient_checkpointing",
                                     "id2label",
                                     "initializer_range",
                                     "label2id",
                                     "language",
                                     "length_penalty",
                                     "max_length",
                                     "min_length",
                                     "name",
                                     "no_repeat_ngram_size",
                                     "num_beam_groups",
                                     "num_beams",
                                     "num_labels",
                                     "num_return_sequences",
                                     "output_attentions",
                                     "output_hidden_states",
                                     "output_past",
                                     "output_scores",
                                     "prefix",
                                     "problem_type",
                                     "remove_invalid_values",
                                     "repetition_penalty",
                                     "return_dict",
                                     "return_dict_in_generate",
                                     "sentence_transformers",
                                     "sep_token_id",
                                     "suppress_tokens",
                                     "task_specific_params",
                                     "temperature",
                                     "tf_legacy_loss",
                                     "tokenizer_class",
                                     "top_k",
                                     "top_p",
                                     "torch_dtype",
                                     "torchscript",
                                     "transformers_version",
                                     "typical_p",
                                     "unsloth_fixed",
                                     "unsloth_version",
                                     "use_bfloat16",
                                     "unk_token_id",
                                     "use_cache",
                                     "xla_device"};
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

bool is_null(const JsonObject& json, std::string_view key) {
  const std::vector<std::string> keys = json.keys();
  return json.value(key).is_null() && std::ranges::find(keys, key) != keys.end();
}

kernels::Activation read_activation(const JsonObject& json, std::string_view key, const std::string& name) {
  for (const auto& [known, activation] : activation_names) {
    if (name == known) return activation;
  }
  json.refuse(key, "relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu or swish");
}

std::string_view name_of(kernels::Activation activation) {
  for (const auto& [name, known] : activation_names) {
    if (known == activation) return name;
  }
  return "";
}

bool same_values(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return false;
  // Some rows at a time: a vocabulary in f64 would be large.
  constexpr std::int64_t rows_at_once = 1024;
  for (std::int64_t row = 0; row < a.dim(0); row += rows_at_once) {
    const std::int64_t end = std::min(row + rows_at_once, a.dim(0));
    const Tensor x = a.rows(row, end).to(DType::f64);
    const Tensor y = b.rows(row, end).to(DType::f64);
    if (!std::ranges::equal(x.values<double>(), y.values<double>())) return false;
  }
  return true;
}

bool all_zero(const Tensor& tensor) {
  const Tensor values = tensor.to(DType::f64);
  return std::ranges::all_of(values.values<double>(), [](double x) { return x == 0; });
}

void read_rotary(const JsonObject& json, ModelConfig& config) {
  config.rotary_base = json.find_number("rope_theta", positive).value_or(config.rotary_base);
  config.rotary_fraction = json.find_number("partial_rotary_factor", fraction).value_or(config.rotary_fraction);
  if (const auto rope = json.find_object("rope_scaling")) read_rope(*rope, config);
  if (const auto rope = json.find_object("rope_parameters")) read_rope(*rope, config);
}

void write_rotary(const ModelConfig& config, OrderedJson& json) {
  json["rope_parameters"] = rope_of(config);
  // For versions of transformers before 5.
  json["rope_theta"] = config.rotary_base;
  if (config.rotary_scaling.kind != RotaryScaling::Kind::none) json["rope_scaling"] = rope_of(config);
}

void set_windows(ModelConfig& config, std::int64_t window, const std::vector<bool>& sliding) {
  config.decoder_attention.clear();
  if (std::ranges::none_of(sliding, [](bool slides) { return slides; })) return;
  for (const bool slides : sliding) {
    config.decoder_attention.push_back(
        {.visibility = slides ? window_visibility(window) : attention::Visibility::causal()});
  }
}

std::vector<std::int64_t> windows_of(const ModelConfig& config) {
  std::vector<std::int64_t> windows;
  for (int layer = 0; layer < config.decoder_layers; ++layer)
    windows.push_back(window_of(layer_attention(config, AttentionKind::decoder, layer)));
  return windows;
}

std::optional<std::vector<bool>> read_layer_types(const JsonObject& json, const ModelConfig& config) {
  const auto types = json.find_texts("layer_types");
  if (!types) return std::nullopt;
  if (std::ssize(*types) != config.decoder_layers)
    json.refuse("layer_types", fmt::format("{} types, one for each layer", config.decoder_layers));
  std::vector<bool> sliding;
  for (const std::string& type : *types) {
    if (type != "sliding_attention" && type != "full_attention")
      json.refuse("layer_types", "sliding_attention or full_attention");
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

void write_layer_types(const ModelConfig& config, OrderedJson& json) {
  const std::vector<std::int64_t> windows = windows_of(config);
  const std::int64_t window = windows.empty() ? 0 : *std::ranges::max_element(windows);
  json["sliding_window"] = window > 0 ? OrderedJson(window) : OrderedJson();
  std::vector<std::string> types;
  for (const std::int64_t of_layer : windows)
    types.emplace_back(window > 0 && of_layer == window ? "sliding_attention" : "full_attention");
  json["layer_types"] = types;
}

}  // namespace rapt
