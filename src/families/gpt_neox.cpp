#include "families/family.h"

namespace rapt {
namespace {

/// transformers 5 groups under rope_parameters what earlier versions have as rotary_emb_base and rotary_pct.
void read(const JsonObject& json, ModelConfig& config) {
  constexpr NumberRange positive{.min = 0, .exclude_min = true};
  constexpr NumberRange fraction{.min = 0, .max = 1, .exclude_min = true};
  config.rotary_base = json.find_number("rotary_emb_base", positive).value_or(10000);
  config.rotary_fraction = json.find_number("rotary_pct", fraction).value_or(0.25);
  if (const auto rope = json.find_object("rope_parameters")) {
    config.rotary_base = rope->find_number("rope_theta", positive).value_or(config.rotary_base);
    config.rotary_fraction = rope->find_number("partial_rotary_factor", fraction).value_or(config.rotary_fraction);
    if (rope->find_text("rope_type").value_or("default") != "default") rope->refuse("rope_type", "\"default\"");
  }
  config.embedding_dropout = config.dropout;
}

void write(const ModelConfig& config, OrderedJson& json) {
  json["rope_parameters"] = {
      {"rope_type", "default"}, {"rope_theta", config.rotary_base}, {"partial_rotary_factor", config.rotary_fraction}};
  // For versions of transformers before 5.
  json["rotary_emb_base"] = config.rotary_base;
  json["rotary_pct"] = config.rotary_fraction;
}

}  // namespace

/// GPT-NeoX: decoder-only, pre-norm, rotary positions.  https://huggingface.co/docs/transformers/model_doc/gpt_neox
const Family gpt_neox{
    .model_type = "gpt_neox",
    .architecture = "GPTNeoXForCausalLM",
    .defaults = {.family = "gpt_neox",
                 .d_model = 6144,
                 .encoder_layers = 0,
                 .decoder_layers = 44,
                 .decoder_heads = 64,
                 .decoder_ff = 24576,
                 .activation = kernels::Activation::gelu,
                 .norm = NormPlacement::pre,
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
               {"hidden_dropout", &ModelConfig::dropout},
               {"attention_dropout", &ModelConfig::attention_dropout},
               {"layer_norm_eps", &ModelConfig::norm_epsilon},
               {"tie_word_embeddings", &ModelConfig::tied_output},
               {"bos_token_id", &ModelConfig::bos},
               {"eos_token_id", &ModelConfig::eos},
               {"pad_token_id", &ModelConfig::pad}},
    .constants = {{"attention_bias", true},
                  {"use_parallel_residual", false},
                  {"is_decoder", false},
                  {"rope_scaling", nullptr},
                  {"is_encoder_decoder", false}},
    .irrelevant = {"_name_or_path", "architectures", "classifier_dropout", "dtype", "torch_dtype", "initializer_range",
                   "model_type", "transformers_version", "use_cache"},
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
