#include "model/config.h"

#include "core/error.h"

namespace rapt {
namespace {

void check_heads(const char* side, std::int64_t d_model, int heads) {
  require(heads >= 1 && d_model % heads == 0, "model: {} heads of the {} do not divide d_model {}", heads, side,
          d_model);
}

void check_probability(const char* name, float value) {
  require(value >= 0 && value < 1, "model: {} is {}; a dropout probability lies in [0, 1)", name, value);
}

}  // namespace

void check(const ModelConfig& c) {
  require(c.vocab >= 1, "model: the vocabulary has {} entries", c.vocab);
  require(c.shared_embeddings || !c.encoder_decoder() || c.source_vocab >= 1,
          "model: the source vocabulary has {} entries", c.source_vocab);
  require(c.d_model >= 1, "model: d_model is {}", c.d_model);
  require(c.encoder_layers >= 0 && c.decoder_layers >= 1, "model: {} encoder and {} decoder layers", c.encoder_layers,
          c.decoder_layers);
  if (c.encoder_decoder()) {
    check_heads("encoder", c.d_model, c.encoder_heads);
    require(c.encoder_ff >= 1, "model: encoder feed-forward of width {}", c.encoder_ff);
    require(c.decoder_start >= 0 && c.decoder_start < c.vocab,
            "model: decoder start token {} is not in the vocabulary of {}", c.decoder_start, c.vocab);
  }
  check_heads("decoder", c.d_model, c.decoder_heads);
  require(c.decoder_ff >= 1, "model: decoder feed-forward of width {}", c.decoder_ff);
  require(c.max_positions >= 1, "model: {} positions", c.max_positions);
  require(c.norm_epsilon > 0, "model: norm epsilon is {}", c.norm_epsilon);
  require(c.rotary_base > 0 && c.rotary_fraction > 0 && c.rotary_fraction <= 1, "model: rotary base {} and fraction {}",
          c.rotary_base, c.rotary_fraction);
  require(c.positions != Positions::sinusoidal || c.d_model % 2 == 0,
          "model: sinusoidal positions need an even d_model, not {}", c.d_model);
  check_probability("dropout", c.dropout);
  check_probability("embedding dropout", c.embedding_dropout);
  check_probability("attention dropout", c.attention_dropout);
  check_probability("activation dropout", c.activation_dropout);
}

}  // namespace rapt
