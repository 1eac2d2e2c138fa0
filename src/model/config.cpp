#include "model/config.h"

#include <fmt/format.h>

#include <string>

#include "core/error.h"

namespace rapt {
namespace {

void check_heads(const char* side, const ModelConfig& c, int heads) {
  require(heads >= 1, "model: {} heads of the {}", heads, side);
  require(c.d_head > 0 || c.d_model % heads == 0, "model: {} heads of the {} do not divide d_model {}", heads, side,
          c.d_model);
  require(c.d_head_of(heads) <= 1024, "model: heads of {} dimensions; attention takes at most 1024",
          c.d_head_of(heads));
}

void check_rotary(const ModelConfig& c) {
  require(c.rotary_base > 0 && c.rotary_fraction > 0 && c.rotary_fraction <= 1, "model: rotary base {} and fraction {}",
          c.rotary_base, c.rotary_fraction);
  const RotaryScaling& scaling = c.rotary_scaling;
  require(scaling.factor > 0, "model: rotary scaling by {}", scaling.factor);
  if (scaling.kind == RotaryScaling::Kind::none || scaling.kind == RotaryScaling::Kind::linear) return;
  require(scaling.original_positions >= 1, "model: rotary scaling of {} original positions",
          scaling.original_positions);
  require(scaling.high_frequency_factor > scaling.low_frequency_factor && scaling.low_frequency_factor > 0,
          "model: rotary scaling between frequency factors {} and {}", scaling.low_frequency_factor,
          scaling.high_frequency_factor);
  require(scaling.beta_fast > scaling.beta_slow && scaling.beta_slow > 0, "model: rotary scaling with betas {} and {}",
          scaling.beta_fast, scaling.beta_slow);
}

void check_probability(const char* name, float value) {
  require(value >= 0 && value < 1, "model: {} is {}; a dropout probability lies in [0, 1)", name, value);
}

using Dependence = attention::Visibility::Dependence;

void check_linear(const LayerAttention& attention, AttentionKind kind, const std::string& place) {
  using Kind = attention::LinearForm::Kind;
  const bool causal = attention.linear->kind == Kind::retention || attention.linear->kind == Kind::gated_delta;
  require(
      !causal || kind == AttentionKind::decoder,
      "model: {0}: {1} is causal and fits a decoder's self-attention only (\"decoder = {1}\"); give a linear form or "
      "a visibility",
      place, attention.text());
  require(attention.linear->kind != Kind::favor || attention.linear->features >= 1, "model: {}: favor with {} features",
          place, attention.linear->features);
}

/// Decoding token by token must see what training saw.
void check_visibility(const attention::Visibility& visibility, AttentionKind kind, const std::string& place) {
  const Dependence dependence = visibility.dependence();
  require(kind != AttentionKind::decoder || dependence != Dependence::call,
          "model: {}: what {} shows depends on which tokens are computed together, and a decoder computes one at a "
          "time; give sets that are aligned at the end (without \"start\"), and no blocks or big_bird",
          place, visibility.text());
  require(kind != AttentionKind::cross || dependence == Dependence::none,
          "model: {}: what {} shows depends on the position of the query, which has no place among the keys of "
          "cross-attention; give prefix, columns, global_keys or full",
          place, visibility.text());
}

void check_attention(const ModelConfig& config, AttentionKind kind) {
  const auto& list = attention_of(config, kind);
  const int layers = layers_of(config, kind);
  require(list.size() <= 1 || std::ssize(list) == layers,
          "model: attention of {} {} layers is given, there are {}; give one for each, or one for all", list.size(),
          name_of(kind), layers);
  require(list.empty() || layers > 0, "model: attention of {} {} layers is given, there are none", list.size(),
          name_of(kind));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = list.size() == 1 ? fmt::format("{} attention", name_of(kind))
                                               : fmt::format("{} attention {}", name_of(kind), i);
    if (list[i].linear) {
      require(config.attention_soft_cap == 0 && config.positions != Positions::relative,
              "model: {}: this model adds to scores or caps them, and a linear form has none; give a visibility",
              place);
      check_linear(list[i], kind, place);
    } else {
      check_visibility(list[i].visibility, kind, place);
    }
  }
}

}  // namespace

int ModelConfig::kv_heads_of(AttentionKind kind) const {
  if (kind == AttentionKind::encoder) return encoder_heads;
  return kind == AttentionKind::decoder && decoder_kv_heads > 0 ? decoder_kv_heads : decoder_heads;
}

std::int64_t ModelConfig::cache_width() const {
  return 2 * kv_heads_of(AttentionKind::decoder) * d_head_of(decoder_heads);
}

int layers_of(const ModelConfig& config, AttentionKind kind) {
  if (kind == AttentionKind::encoder) return config.encoder_layers;
  return kind == AttentionKind::decoder || config.encoder_decoder() ? config.decoder_layers : 0;
}

std::vector<LayerAttention>& attention_of(ModelConfig& config, AttentionKind kind) {
  if (kind == AttentionKind::encoder) return config.encoder_attention;
  return kind == AttentionKind::decoder ? config.decoder_attention : config.cross_attention;
}

const std::vector<LayerAttention>& attention_of(const ModelConfig& config, AttentionKind kind) {
  return attention_of(const_cast<ModelConfig&>(config), kind);
}

LayerAttention usual_attention(AttentionKind kind) {
  return {.visibility =
              kind == AttentionKind::decoder ? attention::Visibility::causal() : attention::Visibility::full()};
}

LayerAttention layer_attention(const ModelConfig& config, AttentionKind kind, int layer) {
  const auto& list = attention_of(config, kind);
  if (list.empty()) return usual_attention(kind);
  return list[list.size() == 1 ? 0 : static_cast<std::size_t>(layer)];
}

void check(const ModelConfig& c) {
  require(c.vocab >= 1, "model: the vocabulary has {} entries", c.vocab);
  require(c.shared_embeddings || !c.encoder_decoder() || c.source_vocab >= 1,
          "model: the source vocabulary has {} entries", c.source_vocab);
  require(c.d_model >= 1, "model: d_model is {}", c.d_model);
  require(c.encoder_layers >= 0 && c.decoder_layers >= 0 && c.encoder_layers + c.decoder_layers >= 1,
          "model: {} encoder and {} decoder layers", c.encoder_layers, c.decoder_layers);
  if (!c.decoder_only()) {
    check_heads("encoder", c, c.encoder_heads);
    require(c.encoder_ff >= 1, "model: encoder feed-forward of width {}", c.encoder_ff);
  }
  if (c.encoder_decoder()) {
    require(c.decoder_start >= 0 && c.decoder_start < c.vocab,
            "model: decoder start token {} is not in the vocabulary of {}", c.decoder_start, c.vocab);
  }
  if (!c.encoder_only()) {
    check_heads("decoder", c, c.decoder_heads);
    const int kv_heads = c.kv_heads_of(AttentionKind::decoder);
    require(c.decoder_heads % kv_heads == 0, "model: {} key-value heads do not divide the decoder's {} heads", kv_heads,
            c.decoder_heads);
    require(c.decoder_ff >= 1, "model: decoder feed-forward of width {}", c.decoder_ff);
  }
  require(c.max_positions >= 1, "model: {} positions", c.max_positions);
  require(c.norm_epsilon > 0, "model: norm epsilon is {}", c.norm_epsilon);
  check_rotary(c);
  const bool sinusoids = c.positions == Positions::sinusoidal || c.positions == Positions::sinusoidal_fairseq;
  require(!sinusoids || (c.d_model % 2 == 0 && (c.d_model > 2 || c.positions == Positions::sinusoidal)),
          "model: sinusoidal positions need an even d_model, not {}", c.d_model);
  require(c.positions != Positions::relative ||
              (c.relative_buckets >= 4 && c.relative_max_distance > c.relative_buckets / 2),
          "model: {} relative buckets for distances up to {}", c.relative_buckets, c.relative_max_distance);
  require(c.positions != Positions::rotary || c.decoder_only(), "model: rotary positions are for decoders alone");
  require(c.position_offset >= 0 && c.token_types >= 0, "model: position offset {}, {} token types", c.position_offset,
          c.token_types);
  check_probability("dropout", c.dropout);
  check_probability("embedding dropout", c.embedding_dropout);
  check_probability("attention dropout", c.attention_dropout);
  check_probability("activation dropout", c.activation_dropout);
  check_probability("final dropout", c.final_dropout);
  for (const AttentionKind kind : {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross})
    check_attention(c, kind);
}

}  // namespace rapt
