#include "families/common.h"

namespace rapt {
namespace {

/// Before transformers 5, rope_theta and partial_rotary_factor were called rotary_emb_base and rotary_pct.
void read(const JsonObject& json, ModelConfig& config) {
  constexpr NumberRange fraction{.min = 0, .max = 1, .exclude_min = true};
  config.rotary_base = json.find_number("rotary_emb_base", {.min = 0, .exclude_min = true}).value_or(10000);
  config.rotary_fraction = json.find_number("rotary_pct", fraction).value_or(0.25);
  read_rotary(json, config);
  config.embedding_dropout = config.dropout;
  config.query_key_value_bias = config.attention_output_bias = json.find_boolean("attention_bias").value_or(true);
}

void write(const ModelConfig& config, OrderedJson& json) {
  write_rotary(config, json);
  json["rotary_emb_base"] = config.rotary_base;
  json["rotary_pct"] = config.rotary_fraction;
  json["attention_bias"] = config.query_key_value_bias;
}

}  // namespace

/// GPT-NeoX: decoder-only, pre-norm, rotary positions.  https://huggingface.co/docs/transformers/model_doc/gpt_neox
const Family gpt_neox{
    .model_type = "gpt_neox",
    .architecture = "GPTNeoXForCausalLM",
    .defaults = {.family = "gpt_neox",
                 .vocab = 50432,
                 .d_model = 6144,
                 .encoder_layers = 0,
                 .decoder_layers = 44,
                 .decoder_heads = 64,
                 .decoder_ff = 24576,
                 .activation = kernels::Activation::gelu,
                 .norm = NormPlacement::pre,
                 .parallel_residual = true,
                 .positions = Positions::rotary,
                 .max_positions = 2048,
                 .scale_embedding = false,
                 .tied_output = false,
                 .bos = 0,
                 .eos = 2,
                 .dropout = 0,
                 .embedding_dropout = 0},
    .fields = {{"vocab_size", &ModelConfig::vocab},
               {"max_position_embeddings", &ModelConfig::max_positions},
               {"hidden_size", &ModelConfig::d_model},
               {"num_hidden_layers", &ModelConfig::decoder_layers},
               {"num_attention_heads", &ModelConfig::decoder_heads},
               {"intermediate_size", &ModelConfig::decoder_ff},
               {"hidden_act", &ModelConfig::activation},
               {"use_parallel_residual", &ModelConfig::parallel_residual},
               {"hidden_dropout", &ModelConfig::dropout},
               {"attention_dropout", &ModelConfig::attention_dropout},
               {"layer_norm_eps", &ModelConfig::norm_epsilon},
               {"tie_word_embeddings", &ModelConfig::tied_output},
               {"bos_token_id", &ModelConfig::bos},
               {"eos_token_id", EndTokens{}},
               {"pad_token_id", &ModelConfig::pad}},
    .constants = {{"is_encoder_decoder", false}},
    // transformers has other names for these two.
    .irrelevant = irrelevant_keys({"attention_probs_dropout_prob", "hidden_dropout_prob"}),
    .read = read,
    .write = write,
    .tensors = {{"gpt_neox.embed_in.weight", {"embedding.weight"}},
                {"gpt_neox.layers.{}.input_layernorm", {"decoder.{}.self_attention_norm"}},
                {"gpt_neox.layers.{}.attention.query_key_value",
                 {"decoder.{}.self_attention.query", "decoder.{}.self_attention.key",
                  "decoder.{}.self_attention.value"},
                 TensorLayout::interleaved_heads},
                {"gpt_neox.layers.{}.attention.dense", {"decoder.{}.self_attention.output"}},
                {"gpt_neox.layers.{}.post_attention_layernorm", {"decoder.{}.feed_forward_norm"}},
                {"gpt_neox.layers.{}.mlp.dense_h_to_4h", {"decoder.{}.feed_forward.inner"}},
                {"gpt_neox.layers.{}.mlp.dense_4h_to_h", {"decoder.{}.feed_forward.outer"}},
                {"gpt_neox.final_layer_norm", {"decoder_norm"}},
                {"embed_out.weight", {"output.weight"}}},
    .copies = {{"embed_out.weight", "embedding.weight"}, {"lm_head.weight", "embedding.weight"}},
    .ignored_tensors = {"gpt_neox.layers.{}.attention.bias", "gpt_neox.layers.{}.attention.masked_bias",
                        "gpt_neox.layers.{}.attention.rotary_emb.inv_freq"}};

}  // namespace rapt
