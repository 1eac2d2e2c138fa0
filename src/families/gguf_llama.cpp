#include <cmath>
#include <optional>

#include "core/error.h"
#include "families/common.h"
#include "families/gguf_architecture.h"
#include "model/positions.h"

namespace rapt {
namespace {

using enum GgufKeyRule::Kind;

std::vector<GgufKeyRule> common_keys() {
  return {{"context_length", "max_position_embeddings"},
          {"embedding_length", "hidden_size"},
          {"block_count", "num_hidden_layers"},
          {"feed_forward_length", "intermediate_size"},
          {"attention.head_count", "num_attention_heads"},
          {"attention.head_count_kv", "num_key_value_heads"},
          {"attention.layer_norm_rms_epsilon", "rms_norm_eps", number},
          {"rope.freq_base", "rope_theta", number}};
}

std::vector<GgufNameRule> common_tensors() {
  return {{"token_embd", "model.embed_tokens"},
          {"output_norm", "model.norm"},
          {"output", "lm_head"},
          {"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
          {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
          {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"},
          {"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
          {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
          {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
          {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
          {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"}};
}

std::vector<GgufNameRule> tensors_with_two_norms() {
  return joined(common_tensors(), {{"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"}});
}

/// Llama 3.1 and later slow their frequencies down; files hold the resulting factors, config.json what they are
/// computed from. All published models have the same but for the factor.
std::optional<OrderedJson> llama3_scaling(const Gguf& file, const GgufArchitecture& sizes) {
  const Tensor stored = file.unpack(gguf_rotary_factors);
  ModelConfig config{.d_model = sizes.d_model,
                     .decoder_heads = static_cast<int>(sizes.heads),
                     .d_head = sizes.d_head,
                     .positions = Positions::rotary,
                     .rotary_base = sizes.rotary_base.value_or(10000)};
  const std::vector<double> plain = rotary_frequencies(config);
  for (const double factor : {8., 16., 32.}) {
    config.rotary_scaling = {.kind = RotaryScaling::Kind::llama3, .factor = factor, .original_positions = 8192};
    const std::vector<double> scaled = rotary_frequencies(config);
    const auto values = stored.values<float>();
    bool same = values.size() == plain.size();
    for (std::size_t i = 0; same && i < plain.size(); ++i) {
      same = std::abs(plain[i] / scaled[i] - static_cast<double>(values[i])) <= 1e-4 * factor;
    }
    if (same) {
      return OrderedJson{{"rope_type", "llama3"},
                         {"factor", factor},
                         {"low_freq_factor", config.rotary_scaling.low_frequency_factor},
                         {"high_freq_factor", config.rotary_scaling.high_frequency_factor},
                         {"original_max_position_embeddings", config.rotary_scaling.original_positions}};
    }
  }
  return {};
}

void complete_llama(const Gguf& file, const GgufArchitecture& sizes, OrderedJson& json) {
  json["attention_bias"] = file.tensors().contains("blk.0.attn_q.bias");
  json["mlp_bias"] = file.tensors().contains("blk.0.ffn_up.bias");
  if (!file.tensors().contains(gguf_rotary_factors)) return;
  require(!json.contains("rope_scaling"), "{}: has both the key \"llama.rope.scaling.type\" and the tensor \"{}\"",
          file.file(), gguf_rotary_factors);
  const auto scaling = llama3_scaling(file, sizes);
  require(scaling.has_value(),
          "{}: tensor \"{}\": expected the factors of Llama 3.1 or later (8, 16 or 32 beyond 8192 positions), found "
          "others; load the model from its Hugging Face directory",
          file.file(), gguf_rotary_factors);
  json["rope_scaling"] = *scaling;
}

/// Mistral 0.1's window, which files in the field leave out, as llama.cpp does; where it is there, it counts.
bool has_window(const Gguf& file) {
  constexpr std::string_view key = "llama.attention.sliding_window";
  return file.contains(key) && file.integer(key) != 0;
}

void complete_qwen(const Gguf&, const GgufArchitecture&, OrderedJson& json) {
  json["use_sliding_window"] = false;
}

void complete_gemma2(const Gguf&, const GgufArchitecture& sizes, OrderedJson& json) {
  // The files do not say it: the 27B model, which alone has 46 layers, divides by the mean width of a head.
  json["query_pre_attn_scalar"] = sizes.layers == 46 ? sizes.d_model / sizes.heads : sizes.d_head;
}

GgufArchitectureRules rules(std::string_view name) {
  return {.name = name,
          .model_type = name,
          .keys = common_keys(),
          .constants = {{"expert_count", 0}, {"expert_used_count", 0}},
          .head_size = "head_dim",
          .rotary = true,
          .tensors = tensors_with_two_norms()};
}

}  // namespace

std::vector<GgufArchitectureRules> gguf_llama_like() {
  GgufArchitectureRules llama_rules = rules("llama");
  llama_rules.constants.push_back({"attention.sliding_window", 0});
  llama_rules.pairs = true;
  llama_rules.complete = complete_llama;

  GgufArchitectureRules mistral_rules = rules("llama");
  mistral_rules.model_type = "mistral";
  mistral_rules.applies = has_window;
  mistral_rules.keys.push_back({"attention.sliding_window", "sliding_window"});
  mistral_rules.pairs = true;

  GgufArchitectureRules qwen2_rules = rules("qwen2");
  qwen2_rules.complete = complete_qwen;

  GgufArchitectureRules qwen3_rules = rules("qwen3");
  qwen3_rules.tensors = joined(qwen3_rules.tensors, {{"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"},
                                                     {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"}});
  qwen3_rules.complete = complete_qwen;

  GgufArchitectureRules gemma2_rules = rules("gemma2");
  gemma2_rules.keys = joined(gemma2_rules.keys, {{"attention.sliding_window", "sliding_window"},
                                                 {"attn_logit_softcapping", "attn_logit_softcapping", number},
                                                 {"final_logit_softcapping", "final_logit_softcapping", number}});
  gemma2_rules.tensors =
      joined(common_tensors(), {{"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
                                {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
                                {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}});
  gemma2_rules.norm_offset = 1;
  gemma2_rules.complete = complete_gemma2;
  return {mistral_rules, llama_rules, qwen2_rules, qwen3_rules, gemma2_rules};
}

}  // namespace rapt
