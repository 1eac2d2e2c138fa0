#include "families/bert_like.h"

#include <algorithm>
#include <deque>

#include "families/common.h"

namespace rapt::bert_like {
namespace {

/// Keeps a name for as long as the tables of families live.
std::string_view keep(std::string name) {
  static std::deque<std::string> names;
  return names.emplace_back(std::move(name));
}

std::string_view joined_name(std::string_view prefix, std::string_view name) {
  return keep(std::string(prefix) + std::string(name));
}

}  // namespace

ModelConfig defaults(std::string_view family) {
  return {.family = family,
          .vocab = 30522,
          .d_model = 768,
          .encoder_layers = 12,
          .decoder_layers = 0,
          .encoder_heads = 12,
          .encoder_ff = 3072,
          .activation = kernels::Activation::gelu,
          .norm_epsilon = 1e-12,
          .embedding_norm = true,
          .positions = Positions::learned,
          .max_positions = 512,
          .scale_embedding = false,
          .pad = 0,
          .eos = -1,
          .attention_dropout = 0.1f};
}

std::vector<ConfigField> fields() {
  return {{"vocab_size", &ModelConfig::vocab},
          {"hidden_size", &ModelConfig::d_model},
          {"num_hidden_layers", &ModelConfig::encoder_layers},
          {"num_attention_heads", &ModelConfig::encoder_heads},
          {"intermediate_size", &ModelConfig::encoder_ff},
          {"hidden_act", &ModelConfig::activation},
          {"hidden_dropout_prob", &ModelConfig::dropout},
          {"attention_probs_dropout_prob", &ModelConfig::attention_dropout},
          {"type_vocab_size", &ModelConfig::token_types},
          {"layer_norm_eps", &ModelConfig::norm_epsilon},
          {"tie_word_embeddings", &ModelConfig::tied_output},
          {"pad_token_id", &ModelConfig::pad},
          {"bos_token_id", &ModelConfig::bos},
          {"eos_token_id", EndTokens{}}};
}

std::vector<ConfigConstant> constants() {
  return {{"is_encoder_decoder", false}, {"position_embedding_type", "absolute"}};
}

std::vector<TensorRule> tensors(std::string_view prefix) {
  const std::pair<std::string_view, std::string_view> names[] = {
      {"embeddings.word_embeddings.weight", "embedding.weight"},
      {"embeddings.position_embeddings.weight", "positions.weight"},
      {"embeddings.token_type_embeddings.weight", "segments.weight"},
      {"embeddings.LayerNorm", "encoder_embedding_norm"},
      {"encoder.layer.{}.attention.self.query", "encoder.{}.self_attention.query"},
      {"encoder.layer.{}.attention.self.key", "encoder.{}.self_attention.key"},
      {"encoder.layer.{}.attention.self.value", "encoder.{}.self_attention.value"},
      {"encoder.layer.{}.attention.output.dense", "encoder.{}.self_attention.output"},
      {"encoder.layer.{}.attention.output.LayerNorm", "encoder.{}.self_attention_norm"},
      {"encoder.layer.{}.intermediate.dense", "encoder.{}.feed_forward.inner"},
      {"encoder.layer.{}.output.dense", "encoder.{}.feed_forward.outer"},
      {"encoder.layer.{}.output.LayerNorm", "encoder.{}.feed_forward_norm"},
      {"pooler.dense", "pooler"}};
  std::vector<TensorRule> rules;
  for (const auto& [name, parameter] : names) rules.push_back({joined_name(prefix, name), {parameter}});
  return rules;
}

std::vector<std::string_view> ignored_tensors(std::string_view prefix) {
  return {joined_name(prefix, "embeddings.position_ids"), joined_name(prefix, "embeddings.token_type_ids")};
}

void read(const JsonObject&, ModelConfig& config) {
  config.embedding_dropout = config.dropout;
}

void write(const ModelConfig&, OrderedJson& json) {
  json["initializer_range"] = 0.02;
  json["use_cache"] = true;
}

bool has(const CheckpointTensors& tensors, std::string_view ending) {
  return std::ranges::any_of(tensors, [&](const auto& entry) { return entry.first.ends_with(ending); });
}

}  // namespace rapt::bert_like
