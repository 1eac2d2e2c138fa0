/// What distinguishes one Transformer from another, as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attention/trace.h"
#include "kernels/elementwise.h"
#include "model/layer_attention.h"

namespace rapt {

enum class NormPlacement {
  post,  ///< LayerNorm(x + sublayer(x)), as in the paper
  pre,   ///< x + sublayer(LayerNorm(x)), with a last LayerNorm after the stack
};

enum class Positions {
  sinusoidal,  ///< fixed, [sin | cos] halves with timescale 10000^(2i/d), the convention of MarianMT checkpoints
  learned,     ///< a table
  rotary,      ///< RoFormer: queries and keys are turned
};

/// A Transformer: encoder-decoder when encoder_layers > 0, decoder-only otherwise.
struct ModelConfig {
  std::string_view family = "marian";  ///< Hugging Face model_type that reads and writes it; a literal
  std::int64_t vocab = 0;              ///< of the target, and of the source when embeddings are shared
  std::int64_t source_vocab = 0;       ///< of the source when embeddings are not shared
  std::int64_t d_model = 512;
  int encoder_layers = 6;
  int decoder_layers = 6;
  int encoder_heads = 8;
  int decoder_heads = 8;
  std::int64_t encoder_ff = 2048;
  std::int64_t decoder_ff = 2048;
  kernels::Activation activation = kernels::Activation::relu;
  NormPlacement norm = NormPlacement::post;
  double norm_epsilon = 1e-5;
  Positions positions = Positions::sinusoidal;
  std::int64_t max_positions = 1024;  ///< longest sequence, in tokens
  double rotary_base = 10000;
  double rotary_fraction = 1;     ///< of each head's dimensions that turn
  bool scale_embedding = true;    ///< by sqrt(d_model)
  bool tied_output = true;        ///< the output projection is the (target) embedding
  bool shared_embeddings = true;  ///< source and target have one embedding
  bool logits_bias = false;       ///< the checkpoint has a (not learnt) final_logits_bias

  /// How layers attend: one for each layer, one for all, or none for full attention (causal in the decoder).
  std::vector<LayerAttention> encoder_attention = {};
  std::vector<LayerAttention> decoder_attention = {};  ///< self-attention; always causal besides
  std::vector<LayerAttention> cross_attention = {};

  std::int32_t pad = -1;  ///< token ids; -1 where the model has none
  std::int32_t bos = -1;
  std::int32_t eos = 0;
  std::int32_t decoder_start = -1;  ///< first input of the decoder of an encoder-decoder

  float dropout = 0.1f;            ///< of sublayer outputs ("residual dropout", 5.4)
  float embedding_dropout = 0.1f;  ///< of the sums of embeddings and positions (5.4)
  float attention_dropout = 0;     ///< of attention weights
  float activation_dropout = 0;    ///< inside the feed-forward

  bool encoder_decoder() const { return encoder_layers > 0; }
  std::int64_t source_vocabulary() const { return shared_embeddings ? vocab : source_vocab; }
};

/// Layers of the encoder, of the decoder, or with cross-attention.
int layers_of(const ModelConfig& config, AttentionKind kind);
/// The list of a kind.
std::vector<LayerAttention>& attention_of(ModelConfig& config, AttentionKind kind);
const std::vector<LayerAttention>& attention_of(const ModelConfig& config, AttentionKind kind);
/// Where a list is empty: causal in the decoder, full elsewhere.
LayerAttention usual_attention(AttentionKind kind);
/// How a layer attends: the list's entry as it stands.
LayerAttention layer_attention(const ModelConfig& config, AttentionKind kind, int layer);

/// Throws Error, naming the field, unless the numbers fit together.
void check(const ModelConfig& config);

}  // namespace rapt
