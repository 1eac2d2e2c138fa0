#include "families/common.h"

namespace rapt {
namespace {

void read(const JsonObject& json, ModelConfig& config) {
  config.decoder_ff = json.find_integer("n_inner", {.min = 1}).value_or(4 * config.d_model);
  if (!json.find_boolean("scale_attn_weights").value_or(true)) config.attention_scale = 1;
}

void write(const ModelConfig& config, OrderedJson& json) {
  json["n_inner"] = config.decoder_ff;
  json["scale_attn_weights"] = config.attention_scale == 0;
}

}  // namespace

/// GPT-2: decoder-only, pre-norm, learned positions.  https://huggingface.co/docs/transformers/model_doc/gpt2
const Family gpt2{
    .model_type = "gpt2",
    .architecture = "GPT2LMHeadModel",
    .defaults = {.family = "gpt2",
                 .vocab = 50257,
                 .d_model = 768,
                 .encoder_layers = 0,
                 .decoder_layers = 12,
                 .decoder_heads = 12,
                 .activation = kernels::Activation::gelu_tanh,
                 .norm = NormPlacement::pre,
                 .positions = Positions::learned,
                 .scale_embedding = false,
                 .bos = 50256,
                 .eos = 50256,
                 .attention_dropout = 0.1f},
    .fields = {{"vocab_size", &ModelConfig::vocab},
               {"n_positions", &ModelConfig::max_positions},
               {"n_embd", &ModelConfig::d_model},
               {"n_layer", &ModelConfig::decoder_layers},
               {"n_head", &ModelConfig::decoder_heads},
               {"activation_function", &ModelConfig::activation},
               {"resid_pdrop", &ModelConfig::dropout},
               {"embd_pdrop", &ModelConfig::embedding_dropout},
               {"attn_pdrop", &ModelConfig::attention_dropout},
               {"layer_norm_epsilon", &ModelConfig::norm_epsilon},
               {"scale_attn_by_inverse_layer_idx", &ModelConfig::scale_by_inverse_layer},
               {"tie_word_embeddings", &ModelConfig::tied_output},
               {"bos_token_id", &ModelConfig::bos},
               {"eos_token_id", EndTokens{}},
               {"pad_token_id", &ModelConfig::pad}},
    .constants = {{"is_encoder_decoder", false}},
    .irrelevant = irrelevant_keys({"n_ctx", "n_special", "predict_special_tokens", "reorder_and_upcast_attn",
                                   "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
                                   "summary_type", "summary_use_proj"}),
    .read = read,
    .write = write,
    .optional_prefix = "transformer.",
    .tensors = {{"transformer.wte.weight", {"embedding.weight"}},
                {"transformer.wpe.weight", {"positions.weight"}},
                {"transformer.h.{}.ln_1", {"decoder.{}.self_attention_norm"}},
                {"transformer.h.{}.attn.c_attn",
                 {"decoder.{}.self_attention.query", "decoder.{}.self_attention.key",
                  "decoder.{}.self_attention.value"},
                 TensorLayout::transposed},
                {"transformer.h.{}.attn.c_proj", {"decoder.{}.self_attention.output"}, TensorLayout::transposed},
                {"transformer.h.{}.ln_2", {"decoder.{}.feed_forward_norm"}},
                {"transformer.h.{}.mlp.c_fc", {"decoder.{}.feed_forward.inner"}, TensorLayout::transposed},
                {"transformer.h.{}.mlp.c_proj", {"decoder.{}.feed_forward.outer"}, TensorLayout::transposed},
                {"transformer.ln_f", {"decoder_norm"}},
                {"lm_head.weight", {"output.weight"}}},
    .copies = {{"lm_head.weight", "embedding.weight"}},
    .ignored_tensors = {"transformer.h.{}.attn.bias", "transformer.h.{}.attn.masked_bias"}};

}  // namespace rapt
