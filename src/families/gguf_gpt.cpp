#include "families/common.h"
#include "families/gguf_architecture.h"

namespace rapt {
namespace {

using enum GgufKeyRule::Kind;

void complete_gpt_neox(const Gguf& file, const GgufArchitecture&, OrderedJson& json) {
  json["attention_bias"] = file.tensors().contains("blk.0.attn_qkv.bias");
}

}  // namespace

/// What files do not say is what all published models have: GPT-2's GELU is the one by tanh, GPT-NeoX's the exact one,
/// which turns with base 10000 and has no linear scaling unless a key says so.
std::vector<GgufArchitectureRules> gguf_gpt_like() {
  GgufArchitectureRules gpt2_rules{.name = "gpt2",
                                   .model_type = "gpt2",
                                   .keys = {{"context_length", "n_positions"},
                                            {"embedding_length", "n_embd"},
                                            {"block_count", "n_layer"},
                                            {"feed_forward_length", "n_inner"},
                                            {"attention.head_count", "n_head"},
                                            {"attention.layer_norm_epsilon", "layer_norm_epsilon", number}},
                                   .tensors = {{"token_embd", "transformer.wte"},
                                               {"position_embd", "transformer.wpe"},
                                               {"output_norm", "transformer.ln_f"},
                                               {"output", "lm_head"},
                                               {"blk.{}.attn_norm", "transformer.h.{}.ln_1"},
                                               {"blk.{}.attn_qkv", "transformer.h.{}.attn.c_attn"},
                                               {"blk.{}.attn_output", "transformer.h.{}.attn.c_proj"},
                                               {"blk.{}.ffn_norm", "transformer.h.{}.ln_2"},
                                               {"blk.{}.ffn_up", "transformer.h.{}.mlp.c_fc"},
                                               {"blk.{}.ffn_down", "transformer.h.{}.mlp.c_proj"}},
                                   .stacked = true};

  GgufArchitectureRules gpt_neox_rules{.name = "gptneox",
                                       .model_type = "gpt_neox",
                                       .keys = {{"context_length", "max_position_embeddings"},
                                                {"embedding_length", "hidden_size"},
                                                {"block_count", "num_hidden_layers"},
                                                {"feed_forward_length", "intermediate_size"},
                                                {"attention.head_count", "num_attention_heads"},
                                                {"attention.layer_norm_epsilon", "layer_norm_eps", number},
                                                {"use_parallel_residual", "use_parallel_residual", boolean},
                                                {"rope.freq_base", "rotary_emb_base", number}},
                                       .rotary = true,
                                       .rotary_fraction = "rotary_pct",
                                       .tensors = {{"token_embd", "gpt_neox.embed_in"},
                                                   {"output_norm", "gpt_neox.final_layer_norm"},
                                                   {"output", "embed_out"},
                                                   {"blk.{}.attn_norm", "gpt_neox.layers.{}.input_layernorm"},
                                                   {"blk.{}.attn_qkv", "gpt_neox.layers.{}.attention.query_key_value"},
                                                   {"blk.{}.attn_output", "gpt_neox.layers.{}.attention.dense"},
                                                   {"blk.{}.ffn_norm", "gpt_neox.layers.{}.post_attention_layernorm"},
                                                   {"blk.{}.ffn_up", "gpt_neox.layers.{}.mlp.dense_h_to_4h"},
                                                   {"blk.{}.ffn_down", "gpt_neox.layers.{}.mlp.dense_4h_to_h"}},
                                       .stacked = true,
                                       .complete = complete_gpt_neox};
  return {gpt2_rules, gpt_neox_rules};
}

}  // namespace rapt
