#include <algorithm>

#include "families/common.h"

namespace rapt {
namespace {

/// feed_forward_proj: "relu", "gated-gelu", or any other activation with or without "gated-".
void read_feed_forward(const JsonObject& json, ModelConfig& config) {
  const std::string given = json.find_text("feed_forward_proj").value_or(config.gated ? "gated-gelu" : "relu");
  config.gated = given.starts_with("gated-");
  const std::string name = config.gated ? given.substr(6) : given;
  // "gated-gelu" means gelu_new, for the files of T5 1.1.
  config.activation =
      given == "gated-gelu" ? kernels::Activation::gelu_tanh : read_activation(json, "feed_forward_proj", name);
}

std::string feed_forward_text(const ModelConfig& config) {
  if (config.gated && config.activation == kernels::Activation::gelu_tanh) return "gated-gelu";
  return (config.gated ? "gated-" : "") + std::string(name_of(config.activation));
}

void read(const JsonObject& json, ModelConfig& config) {
  config.encoder_heads = config.decoder_heads;
  config.encoder_ff = config.decoder_ff;
  constexpr IntegerRange layers{.min = 0, .max = 1 << 20};
  config.decoder_layers =
      static_cast<int>(json.find_integer("num_decoder_layers", layers).value_or(config.encoder_layers));
  read_feed_forward(json, config);
  config.embedding_dropout = config.attention_dropout = config.activation_dropout = config.final_dropout =
      config.dropout;
}

/// T5 1.0 multiplies by 1 / sqrt(d_model) before its output projection, which is the embedding; 1.1 does neither, and
/// says so by tie_word_embeddings. transformers 5 writes the former as scale_decoder_outputs.
void read_t5(const JsonObject& json, ModelConfig& config) {
  read(json, config);
  const bool tied = json.find_boolean("tie_word_embeddings").value_or(true);
  config.scale_output = json.find_boolean("scale_decoder_outputs").value_or(tied);
}

void write(const ModelConfig& config, OrderedJson& json) {
  json["num_decoder_layers"] = config.decoder_layers;
  if (config.encoder_only()) json["architectures"] = {config.family == "t5" ? "T5EncoderModel" : "MT5EncoderModel"};
  json["feed_forward_proj"] = feed_forward_text(config);
  json["initializer_factor"] = 1.0;
  json["tie_word_embeddings"] = config.tied_output;
}

void write_t5(const ModelConfig& config, OrderedJson& json) {
  write(config, json);
  json["tie_word_embeddings"] = config.scale_output;  // what transformers takes it for
}

/// Encoders alone (sentence-t5, gtr-t5) are published with the config of the whole. The output projection is the
/// embedding unless the file has one that differs.
void detect(const CheckpointTensors& tensors, ModelConfig& config) {
  const bool decodes =
      std::ranges::any_of(tensors, [](const auto& tensor) { return tensor.first.starts_with("decoder."); });
  if (!decodes && !tensors.contains("lm_head.weight")) config.decoder_layers = 0;
  const auto head = tensors.find("lm_head.weight");
  const auto embedding = tensors.find("shared.weight");
  config.tied_output =
      head == tensors.end() || embedding == tensors.end() || same_values(head->second.read(), embedding->second.read());
}

std::vector<TensorRule> tensors() {
  return {
      {"shared.weight", {"embedding.weight"}},
      {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {"encoder_relative_positions.weight"}},
      {"encoder.block.{}.layer.0.SelfAttention.q", {"encoder.{}.self_attention.query"}},
      {"encoder.block.{}.layer.0.SelfAttention.k", {"encoder.{}.self_attention.key"}},
      {"encoder.block.{}.layer.0.SelfAttention.v", {"encoder.{}.self_attention.value"}},
      {"encoder.block.{}.layer.0.SelfAttention.o", {"encoder.{}.self_attention.output"}},
      {"encoder.block.{}.layer.0.layer_norm", {"encoder.{}.self_attention_norm"}},
      {"encoder.block.{}.layer.1.DenseReluDense.wi", {"encoder.{}.feed_forward.inner"}},
      {"encoder.block.{}.layer.1.DenseReluDense.wi_0", {"encoder.{}.feed_forward.gate"}},
      {"encoder.block.{}.layer.1.DenseReluDense.wi_1", {"encoder.{}.feed_forward.up"}},
      {"encoder.block.{}.layer.1.DenseReluDense.wo", {"encoder.{}.feed_forward.outer"}},
      {"encoder.block.{}.layer.1.layer_norm", {"encoder.{}.feed_forward_norm"}},
      {"encoder.final_layer_norm", {"encoder_norm"}},
      {"decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {"decoder_relative_positions.weight"}},
      {"decoder.block.{}.layer.0.SelfAttention.q", {"decoder.{}.self_attention.query"}},
      {"decoder.block.{}.layer.0.SelfAttention.k", {"decoder.{}.self_attention.key"}},
      {"decoder.block.{}.layer.0.SelfAttention.v", {"decoder.{}.self_attention.value"}},
      {"decoder.block.{}.layer.0.SelfAttention.o", {"decoder.{}.self_attention.output"}},
      {"decoder.block.{}.layer.0.layer_norm", {"decoder.{}.self_attention_norm"}},
      {"decoder.block.{}.layer.1.EncDecAttention.q", {"decoder.{}.cross_attention.query"}},
      {"decoder.block.{}.layer.1.EncDecAttention.k", {"decoder.{}.cross_attention.key"}},
      {"decoder.block.{}.layer.1.EncDecAttention.v", {"decoder.{}.cross_attention.value"}},
      {"decoder.block.{}.layer.1.EncDecAttention.o", {"decoder.{}.cross_attention.output"}},
      {"decoder.block.{}.layer.1.layer_norm", {"decoder.{}.cross_attention_norm"}},
      {"decoder.block.{}.layer.2.DenseReluDense.wi", {"decoder.{}.feed_forward.inner"}},
      {"decoder.block.{}.layer.2.DenseReluDense.wi_0", {"decoder.{}.feed_forward.gate"}},
      {"decoder.block.{}.layer.2.DenseReluDense.wi_1", {"decoder.{}.feed_forward.up"}},
      {"decoder.block.{}.layer.2.DenseReluDense.wo", {"decoder.{}.feed_forward.outer"}},
      {"decoder.block.{}.layer.2.layer_norm", {"decoder.{}.feed_forward_norm"}},
      {"decoder.final_layer_norm", {"decoder_norm"}},
      {"lm_head.weight", {"output.weight"}}};
}

Family family_of(std::string_view model_type, std::string_view architecture) {
  return {.model_type = model_type,
          .architecture = architecture,
          .defaults = {.family = model_type,
                       .vocab = 32128,
                       .d_head = 64,
                       .query_key_value_bias = false,
                       .attention_output_bias = false,
                       .feed_forward_bias = false,
                       .norm = NormPlacement::pre,
                       .norm_kind = NormKind::rms,
                       .norm_epsilon = 1e-6,
                       .attention_scale = 1,
                       .positions = Positions::relative,
                       .max_positions = 512,
                       .scale_embedding = false,
                       .pad = 0,
                       .eos = 1,
                       .decoder_start = 0},
          .fields = {{"vocab_size", &ModelConfig::vocab},
                     {"d_model", &ModelConfig::d_model},
                     {"d_kv", &ModelConfig::d_head},
                     {"d_ff", &ModelConfig::decoder_ff},
                     {"num_layers", &ModelConfig::encoder_layers},
                     {"num_heads", &ModelConfig::decoder_heads},
                     {"relative_attention_num_buckets", &ModelConfig::relative_buckets},
                     {"relative_attention_max_distance", &ModelConfig::relative_max_distance},
                     {"dropout_rate", &ModelConfig::dropout},
                     {"layer_norm_epsilon", &ModelConfig::norm_epsilon},
                     {"n_positions", &ModelConfig::max_positions},
                     {"pad_token_id", &ModelConfig::pad},
                     {"bos_token_id", &ModelConfig::bos},
                     {"eos_token_id", EndTokens{}},
                     {"forced_bos_token_id", &ModelConfig::forced_bos},
                     {"decoder_start_token_id", &ModelConfig::decoder_start}},
          .constants = {{"is_encoder_decoder", true}},
          // dense_act_fn and is_gated_act repeat feed_forward_proj.
          .irrelevant = irrelevant_keys(
              {"dense_act_fn", "is_gated_act", "initializer_factor", "tie_word_embeddings", "scale_decoder_outputs"}),
          .read = read,
          .write = write,
          .detect = detect,
          .tensors = tensors(),
          .copies = {{"encoder.embed_tokens.weight", "embedding.weight"},
                     {"decoder.embed_tokens.weight", "embedding.weight"},
                     {"lm_head.weight", "embedding.weight"}},
          // Of early files; no version of transformers uses it.
          .ignored_tensors = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}};
}

Family t5_family() {
  Family family = family_of("t5", "T5ForConditionalGeneration");
  family.read = read_t5;
  family.write = write_t5;
  return family;
}

Family mt5_family() {
  Family family = family_of("mt5", "MT5ForConditionalGeneration");
  family.defaults.vocab = 250112;
  family.defaults.encoder_layers = 8;
  family.defaults.decoder_heads = 6;
  family.defaults.decoder_ff = 1024;
  family.defaults.gated = true;
  return family;
}

}  // namespace

/// T5 1.0 and 1.1 (Raffel et al. 2020), Flan-T5, and mT5 (Xue et al. 2021), which never scales its outputs.
/// https://huggingface.co/docs/transformers/model_doc/t5, .../mt5
const Family t5 = t5_family();
const Family mt5 = mt5_family();

}  // namespace rapt
