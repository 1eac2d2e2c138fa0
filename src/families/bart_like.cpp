#include "families/bart_like.h"

#include "families/common.h"

namespace rapt::bart_like {

void read_shared(const JsonObject& json, ModelConfig& config) {
  config.embedding_dropout = config.dropout;
  config.vocab = config.source_vocab = json.find_integer("vocab_size", {.min = 1}).value_or(config.vocab);
}

namespace {

std::vector<ConfigField> fields() {
  return {{"d_model", &ModelConfig::d_model},
          {"encoder_layers", &ModelConfig::encoder_layers},
          {"decoder_layers", &ModelConfig::decoder_layers},
          {"encoder_attention_heads", &ModelConfig::encoder_heads},
          {"decoder_attention_heads", &ModelConfig::decoder_heads},
          {"encoder_ffn_dim", &ModelConfig::encoder_ff},
          {"decoder_ffn_dim", &ModelConfig::decoder_ff},
          {"activation_function", &ModelConfig::activation},
          {"dropout", &ModelConfig::dropout},
          {"attention_dropout", &ModelConfig::attention_dropout},
          {"activation_dropout", &ModelConfig::activation_dropout},
          {"scale_embedding", &ModelConfig::scale_embedding},
          {"max_position_embeddings", &ModelConfig::max_positions},
          {"tie_word_embeddings", &ModelConfig::tied_output},
          {"pad_token_id", &ModelConfig::pad},
          {"bos_token_id", &ModelConfig::bos},
          {"eos_token_id", EndTokens{}},
          {"forced_bos_token_id", &ModelConfig::forced_bos},
          {"decoder_start_token_id", &ModelConfig::decoder_start}};
}

std::vector<std::string_view> irrelevant() {
  return irrelevant_keys({"classif_dropout", "encoder_layerdrop", "decoder_layerdrop", "extra_pos_embeddings",
                          "force_bos_token_to_be_generated", "init_std", "num_hidden_layers", "save_step"});
}

void read(const JsonObject& json, ModelConfig& config) {
  read_shared(json, config);
  config.vocab = json.find_integer("decoder_vocab_size", {.min = 1}).value_or(config.source_vocab);
  config.shared_embeddings = json.find_boolean("share_encoder_decoder_embeddings").value_or(true);
  if (config.shared_embeddings && config.vocab != config.source_vocab)
    json.refuse("decoder_vocab_size", "the same as vocab_size when embeddings are shared");
}

void write_shared(const ModelConfig& config, OrderedJson& json) {
  json["vocab_size"] = config.source_vocabulary();
  json["forced_eos_token_id"] = config.eos;
  json["num_hidden_layers"] = config.encoder_layers;
  json["encoder_layerdrop"] = 0.0;
  json["decoder_layerdrop"] = 0.0;
  json["init_std"] = 0.02;
  json["use_cache"] = true;
}

void write(const ModelConfig& config, OrderedJson& json) {
  write_shared(config, json);
  json["decoder_vocab_size"] = config.vocab;
  json["share_encoder_decoder_embeddings"] = config.shared_embeddings;
}

void detect(const CheckpointTensors& tensors, ModelConfig& config) {
  const auto bias = tensors.find("final_logits_bias");
  config.logits_bias = bias != tensors.end() && !all_zero(bias->second.read());
}

std::vector<TensorRule> tensors() {
  return {{"model.shared.weight", {"embedding.weight"}},
          {"model.encoder.embed_tokens.weight", {"source_embedding.weight"}},
          {"model.decoder.embed_tokens.weight", {"target_embedding.weight"}},
          {"model.encoder.layers.{}.self_attn.q_proj", {"encoder.{}.self_attention.query"}},
          {"model.encoder.layers.{}.self_attn.k_proj", {"encoder.{}.self_attention.key"}},
          {"model.encoder.layers.{}.self_attn.v_proj", {"encoder.{}.self_attention.value"}},
          {"model.encoder.layers.{}.self_attn.out_proj", {"encoder.{}.self_attention.output"}},
          {"model.encoder.layers.{}.self_attn_layer_norm", {"encoder.{}.self_attention_norm"}},
          {"model.encoder.layers.{}.fc1", {"encoder.{}.feed_forward.inner"}},
          {"model.encoder.layers.{}.fc2", {"encoder.{}.feed_forward.outer"}},
          {"model.encoder.layers.{}.final_layer_norm", {"encoder.{}.feed_forward_norm"}},
          {"model.decoder.layers.{}.self_attn.q_proj", {"decoder.{}.self_attention.query"}},
          {"model.decoder.layers.{}.self_attn.k_proj", {"decoder.{}.self_attention.key"}},
          {"model.decoder.layers.{}.self_attn.v_proj", {"decoder.{}.self_attention.value"}},
          {"model.decoder.layers.{}.self_attn.out_proj", {"decoder.{}.self_attention.output"}},
          {"model.decoder.layers.{}.self_attn_layer_norm", {"decoder.{}.self_attention_norm"}},
          {"model.decoder.layers.{}.encoder_attn.q_proj", {"decoder.{}.cross_attention.query"}},
          {"model.decoder.layers.{}.encoder_attn.k_proj", {"decoder.{}.cross_attention.key"}},
          {"model.decoder.layers.{}.encoder_attn.v_proj", {"decoder.{}.cross_attention.value"}},
          {"model.decoder.layers.{}.encoder_attn.out_proj", {"decoder.{}.cross_attention.output"}},
          {"model.decoder.layers.{}.encoder_attn_layer_norm", {"decoder.{}.cross_attention_norm"}},
          {"model.decoder.layers.{}.fc1", {"decoder.{}.feed_forward.inner"}},
          {"model.decoder.layers.{}.fc2", {"decoder.{}.feed_forward.outer"}},
          {"model.decoder.layers.{}.final_layer_norm", {"decoder.{}.feed_forward_norm"}},
          {"lm_head.weight", {"output.weight"}},
          {"final_logits_bias", {"output.bias"}}};
}

std::vector<std::pair<std::string_view, std::string_view>> copies() {
  return {{"model.encoder.embed_tokens.weight", "embedding.weight"},
          {"model.decoder.embed_tokens.weight", "embedding.weight"},
          {"lm_head.weight", "embedding.weight"},
          {"lm_head.weight", "target_embedding.weight"}};
}

}  // namespace

Family family(std::string_view model_type, std::string_view architecture) {
  return {.model_type = model_type,
          .architecture = architecture,
          .defaults = {.family = model_type,
                       .d_model = 1024,
                       .encoder_layers = 12,
                       .decoder_layers = 12,
                       .encoder_heads = 16,
                       .decoder_heads = 16,
                       .encoder_ff = 4096,
                       .decoder_ff = 4096,
                       .activation = kernels::Activation::gelu,
                       .scale_embedding = false},
          .fields = fields(),
          .constants = {{"is_encoder_decoder", true}},
          .irrelevant = irrelevant(),
          .read = read,
          .write = write,
          .detect = detect,
          .tensors = tensors(),
          .copies = copies()};
}

Family shared_family(std::string_view model_type, std::string_view architecture) {
  Family result = family(model_type, architecture);
  ModelConfig& defaults = result.defaults;
  defaults.vocab = 50265;
  defaults.position_offset = 2;
  defaults.pad = 1;
  defaults.bos = 0;
  defaults.eos = 2;
  result.read = read_shared;
  result.write = write_shared;
  return result;
}

std::vector<ConfigConstant> constants(const EarlyKeys& keys) {
  return {{"is_encoder_decoder", true},
          {"add_final_layer_norm", keys.last_norm},
          {"normalize_before", keys.last_norm},
          {"normalize_embedding", keys.embedding_norm},
          {"static_position_embeddings", keys.sinusoidal}};
}

void add_embedding_tensors(Family& family) {
  family.defaults.embedding_norm = true;
  family.defaults.positions = Positions::learned;
  family.tensors =
      joined(std::move(family.tensors), {{"model.encoder.embed_positions.weight", {"encoder_positions.weight"}},
                                         {"model.decoder.embed_positions.weight", {"decoder_positions.weight"}},
                                         {"model.encoder.layernorm_embedding", {"encoder_embedding_norm"}},
                                         {"model.decoder.layernorm_embedding", {"decoder_embedding_norm"}}});
}

void make_pre_norm(Family& family) {
  family.defaults.norm = NormPlacement::pre;
  family.tensors = joined(std::move(family.tensors), {{"model.encoder.layer_norm", {"encoder_norm"}},
                                                      {"model.decoder.layer_norm", {"decoder_norm"}}});
}

}  // namespace rapt::bart_like
