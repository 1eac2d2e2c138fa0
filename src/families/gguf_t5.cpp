#include "core/error.h"
#include "families/common.h"
#include "families/gguf_architecture.h"

namespace rapt {
namespace {

using enum GgufKeyRule::Kind;

bool is_gated(const Gguf& file) {
  return file.tensors().contains("enc.blk.0.ffn_gate.weight");
}

/// UMT5 (Chung et al. 2023) is written as T5 is, but each of its layers adds numbers of its own for distances.
void refuse_umt5(const Gguf& file) {
  constexpr std::string_view own = "enc.blk.1.attn_rel_b.weight";
  require(!file.tensors().contains(own),
          "{}: tensor \"{}\": each layer has relative positions of its own, as in UMT5, which rapt does not compute; "
          "take a T5 or mT5",
          file.file(), own);
}

void complete_blocks(const Gguf& file, OrderedJson& json) {
  refuse_umt5(file);
  json["feed_forward_proj"] = is_gated(file) ? "gated-gelu" : "relu";
}

void complete_encoder(const Gguf& file, const GgufArchitecture&, OrderedJson& json) {
  complete_blocks(file, json);
  json["num_decoder_layers"] = 0;
}

void complete_t5(const Gguf& file, const GgufArchitecture&, OrderedJson& json) {
  complete_blocks(file, json);
  // Where the output is the embedding, T5 1.0 scales it and mT5 does not: the gate does not tell them apart.
  require(
      !is_gated(file) || file.tensors().contains("output.weight"),
      "{}: tensor \"output.weight\" is missing, which T5 1.1, Flan-T5 and mT5 have; load the model from its Hugging "
      "Face directory",
      file.file());
  constexpr std::string_view layers = "t5.decoder_block_count";
  if (file.contains(layers)) file.integer(layers, 1, static_cast<std::int64_t>(file.tensors().size()));
}

GgufArchitectureRules encoder() {
  return {.name = "t5encoder",
          .model_type = "t5",
          .keys = {{"context_length", "n_positions"},
                   {"embedding_length", "d_model"},
                   {"feed_forward_length", "d_ff"},
                   {"block_count", "num_layers"},
                   {"attention.head_count", "num_heads"},
                   {"attention.layer_norm_epsilon", "layer_norm_epsilon", number},
                   {"attention.layer_norm_rms_epsilon", "layer_norm_epsilon", number},
                   {"attention.relative_buckets_count", "relative_attention_num_buckets"}},
          .head_size = "d_kv",
          .tensors = {{"token_embd", "shared"},
                      {"enc.output_norm", "encoder.final_layer_norm"},
                      {"enc.blk.0.attn_rel_b", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
                      {"enc.blk.{}.attn_norm", "encoder.block.{}.layer.0.layer_norm"},
                      {"enc.blk.{}.attn_q", "encoder.block.{}.layer.0.SelfAttention.q"},
                      {"enc.blk.{}.attn_k", "encoder.block.{}.layer.0.SelfAttention.k"},
                      {"enc.blk.{}.attn_v", "encoder.block.{}.layer.0.SelfAttention.v"},
                      {"enc.blk.{}.attn_o", "encoder.block.{}.layer.0.SelfAttention.o"},
                      {"enc.blk.{}.ffn_norm", "encoder.block.{}.layer.1.layer_norm"},
                      {"enc.blk.{}.ffn_down", "encoder.block.{}.layer.1.DenseReluDense.wo"}},
          .complete = complete_encoder};
}

GgufArchitectureRules with_decoder(GgufArchitectureRules rules) {
  rules.name = "t5";
  rules.keys = joined(rules.keys, {{"decoder_block_count", "num_decoder_layers"},
                                   {"decoder_start_token_id", "decoder_start_token_id"}});
  rules.tensors = joined(
      rules.tensors, {{"output", "lm_head"},
                      {"dec.output_norm", "decoder.final_layer_norm"},
                      {"dec.blk.0.attn_rel_b", "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"},
                      {"dec.blk.{}.attn_norm", "decoder.block.{}.layer.0.layer_norm"},
                      {"dec.blk.{}.attn_q", "decoder.block.{}.layer.0.SelfAttention.q"},
                      {"dec.blk.{}.attn_k", "decoder.block.{}.layer.0.SelfAttention.k"},
                      {"dec.blk.{}.attn_v", "decoder.block.{}.layer.0.SelfAttention.v"},
                      {"dec.blk.{}.attn_o", "decoder.block.{}.layer.0.SelfAttention.o"},
                      {"dec.blk.{}.cross_attn_norm", "decoder.block.{}.layer.1.layer_norm"},
                      {"dec.blk.{}.cross_attn_q", "decoder.block.{}.layer.1.EncDecAttention.q"},
                      {"dec.blk.{}.cross_attn_k", "decoder.block.{}.layer.1.EncDecAttention.k"},
                      {"dec.blk.{}.cross_attn_v", "decoder.block.{}.layer.1.EncDecAttention.v"},
                      {"dec.blk.{}.cross_attn_o", "decoder.block.{}.layer.1.EncDecAttention.o"},
                      {"dec.blk.0.cross_attn_rel_b", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias"},
                      {"dec.blk.{}.ffn_norm", "decoder.block.{}.layer.2.layer_norm"},
                      {"dec.blk.{}.ffn_down", "decoder.block.{}.layer.2.DenseReluDense.wo"}});
  rules.complete = complete_t5;
  return rules;
}

}  // namespace

/// T5 1.1, Flan-T5 and mT5 have a gate, and an output of their own; T5 1.0 has neither. Positions that are told apart
/// reach to 128 tokens, as in all of them.
std::vector<GgufArchitectureRules> gguf_t5_like() {
  GgufArchitectureRules gated = encoder();
  gated.applies = is_gated;
  gated.tensors = joined(gated.tensors, {{"enc.blk.{}.ffn_gate", "encoder.block.{}.layer.1.DenseReluDense.wi_0"},
                                         {"enc.blk.{}.ffn_up", "encoder.block.{}.layer.1.DenseReluDense.wi_1"}});
  GgufArchitectureRules plain = encoder();
  plain.tensors = joined(plain.tensors, {{"enc.blk.{}.ffn_up", "encoder.block.{}.layer.1.DenseReluDense.wi"}});
  GgufArchitectureRules whole_gated = with_decoder(gated);
  whole_gated.tensors =
      joined(whole_gated.tensors, {{"dec.blk.{}.ffn_gate", "decoder.block.{}.layer.2.DenseReluDense.wi_0"},
                                   {"dec.blk.{}.ffn_up", "decoder.block.{}.layer.2.DenseReluDense.wi_1"}});
  GgufArchitectureRules whole_plain = with_decoder(plain);
  whole_plain.tensors =
      joined(whole_plain.tensors, {{"dec.blk.{}.ffn_up", "decoder.block.{}.layer.2.DenseReluDense.wi"}});
  return {whole_gated, whole_plain, gated, plain};
}

}  // namespace rapt
