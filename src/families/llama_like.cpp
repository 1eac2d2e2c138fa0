#include "families/llama_like.h"

#include "families/common.h"

namespace rapt::llama_like {
namespace {

ModelConfig defaults(std::string_view family) {
  return {.family = family,
          .vocab = 32000,
          .d_model = 4096,
          .encoder_layers = 0,
          .decoder_layers = 32,
          .decoder_heads = 32,
          .decoder_ff = 11008,
          .activation = kernels::Activation::silu,
          .gated = true,
          .query_key_value_bias = false,
          .attention_output_bias = false,
          .feed_forward_bias = false,
          .norm = NormPlacement::pre,
          .norm_kind = NormKind::rms,
          .norm_epsilon = 1e-6,
          .positions = Positions::rotary,
          .max_positions = 2048,
          .scale_embedding = false,
          .tied_output = false,
          .eos = -1,
          .dropout = 0,
          .embedding_dropout = 0};
}

std::vector<ConfigField> fields() {
  return {{"vocab_size", &ModelConfig::vocab},
          {"hidden_size", &ModelConfig::d_model},
          {"intermediate_size", &ModelConfig::decoder_ff},
          {"num_hidden_layers", &ModelConfig::decoder_layers},
          {"num_attention_heads", &ModelConfig::decoder_heads},
          {"hidden_act", &ModelConfig::activation},
          {"max_position_embeddings", &ModelConfig::max_positions},
          {"rms_norm_eps", &ModelConfig::norm_epsilon},
          {"tie_word_embeddings", &ModelConfig::tied_output},
          {"attention_dropout", &ModelConfig::attention_dropout},
          {"bos_token_id", &ModelConfig::bos},
          {"eos_token_id", EndTokens{}},
          {"pad_token_id", &ModelConfig::pad}};
}

}  // namespace

Family family(std::string_view model_type, std::string_view architecture) {
  return {.model_type = model_type,
          .architecture = architecture,
          .defaults = defaults(model_type),
          .fields = fields(),
          .constants = {{"is_encoder_decoder", false}},
          .irrelevant = irrelevant_keys({"max_sequence_length", "pretraining_tp", "is_llama_config", "rope_interleaved",
                                         "transformers.js_config"}),
          .read = read,
          .write = write,
          .optional_prefix = "model.",
          .tensors = joined(tensors_but_second_norm(),
                            {{"model.layers.{}.post_attention_layernorm", {"decoder.{}.feed_forward_norm"}}}),
          .copies = {{"lm_head.weight", "embedding.weight"}},
          .ignored_tensors = {"model.layers.{}.self_attn.rotary_emb.inv_freq"}};
}

void read(const JsonObject& json, ModelConfig& config) {
  constexpr IntegerRange count{.min = 1, .max = 1 << 20};
  config.decoder_kv_heads = static_cast<int>(json.find_integer("num_key_value_heads", count).value_or(0));
  config.d_head = json.find_integer("head_dim", count).value_or(config.d_head);
  read_rotary(json, config);
}

void write(const ModelConfig& config, OrderedJson& json) {
  json["num_key_value_heads"] = config.kv_heads_of(AttentionKind::decoder);
  json["head_dim"] = config.d_head_of(config.decoder_heads);
  json["initializer_range"] = 0.02;
  json["use_cache"] = true;
  write_rotary(config, json);
}

void read_attention_bias(const JsonObject& json, ModelConfig& config) {
  config.query_key_value_bias = config.attention_output_bias = json.find_boolean("attention_bias").value_or(false);
}

void write_attention_bias(const ModelConfig& config, OrderedJson& json) {
  json["attention_bias"] = config.query_key_value_bias;
}

std::vector<TensorRule> tensors_but_second_norm() {
  return {{"model.embed_tokens.weight", {"embedding.weight"}},
          {"model.layers.{}.input_layernorm", {"decoder.{}.self_attention_norm"}},
          {"model.layers.{}.self_attn.q_proj", {"decoder.{}.self_attention.query"}},
          {"model.layers.{}.self_attn.k_proj", {"decoder.{}.self_attention.key"}},
          {"model.layers.{}.self_attn.v_proj", {"decoder.{}.self_attention.value"}},
          {"model.layers.{}.self_attn.o_proj", {"decoder.{}.self_attention.output"}},
          {"model.layers.{}.mlp.gate_proj", {"decoder.{}.feed_forward.gate"}},
          {"model.layers.{}.mlp.up_proj", {"decoder.{}.feed_forward.up"}},
          {"model.layers.{}.mlp.down_proj", {"decoder.{}.feed_forward.outer"}},
          {"model.norm", {"decoder_norm"}},
          {"lm_head.weight", {"output.weight"}}};
}

void read_qwen_windows(const JsonObject& json, ModelConfig& config) {
  constexpr IntegerRange count{.min = 1, .max = 1 << 30};
  const bool used = json.find_boolean("use_sliding_window").value_or(false);
  const std::int64_t window = json.find_integer("sliding_window", count).value_or(4096);
  const std::int64_t first = json.find_integer("max_window_layers", {.min = 0}).value_or(28);
  std::vector<bool> sliding;
  for (int layer = 0; layer < config.decoder_layers; ++layer) sliding.push_back(layer >= first);
  sliding = read_layer_types(json, config).value_or(sliding);
  if (used && !is_null(json, "sliding_window")) set_windows(config, window, sliding);
}

void write_qwen_windows(const ModelConfig& config, OrderedJson& json) {
  write_layer_types(config, json);
  json["use_sliding_window"] = !json["sliding_window"].is_null();
  json["max_window_layers"] = config.decoder_layers;
}

void set_qwen_defaults(ModelConfig& config) {
  config.vocab = 151936;
  config.decoder_ff = 22016;
  config.max_positions = 32768;
}

}  // namespace rapt::llama_like
