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
  post,      ///< norm(x + sublayer(x)), as in the paper
  pre,       ///< x + sublayer(norm(x)), with a last norm after the stack
  sandwich,  ///< x + norm(sublayer(norm(x))), with a last norm after the stack (Gemma 2)
};

enum class NormKind {
  layer,  ///< with mean, deviation and bias (Ba et al. 2016)
  rms,    ///< root mean square alone (Zhang, Sennrich 2019)
};

enum class Positions {
  sinusoidal,  ///< fixed, [sin | cos] halves with timescale 10000^(2i/d), the convention of MarianMT checkpoints
  sinusoidal_fairseq,  ///< the same with timescale 10000^(i/(d/2 - 1)), the convention of tensor2tensor and fairseq
  learned,             ///< a table
  rotary,              ///< RoFormer: queries and keys are turned
  relative,            ///< T5: a learnt number for each distance and head is added to scores
};

/// How the frequencies of rotary positions are changed for contexts longer than those of the first training.
struct RotaryScaling {
  enum class Kind {
    none,
    linear,  ///< all divided by the factor (Chen et al., "Extending Context Window ... via Positional Interpolation",
             ///< 2023)
    llama3,  ///< slow ones divided, fast ones kept, those between interpolated (Llama 3.1)
    yarn,    ///< the same along a ramp over dimensions, and what is turned grows (Peng et al., "YaRN", 2023)
  };
  Kind kind = Kind::none;
  double factor = 1;
  std::int64_t original_positions = 0;  ///< of llama3 and yarn: longest context of the first training
  double low_frequency_factor = 1;      ///< of llama3
  double high_frequency_factor = 4;
  double beta_fast = 32;  ///< of yarn
  double beta_slow = 1;
  bool truncate = true;
  double attention_factor = 1;
};

/// What is computed on top of an encoder. It is learnt, so a checkpoint may hold it or not.
struct EncoderHeads {
  bool masked_language_model = false;  ///< logits of every token
  bool pooler = false;                 ///< tanh(W h) of the first token
  bool next_sentence = false;          ///< two logits from the pooler (Devlin et al. 2019, 3.1)
};

/// A Transformer: encoder and decoder, or one of them, by the number of their layers.
struct ModelConfig {
  std::string_view family = "marian";  ///< Hugging Face model_type that reads and writes it; a literal
  std::int64_t vocab = 0;              ///< of the target, and of the source when embeddings are shared
  std::int64_t source_vocab = 0;       ///< of the source when embeddings are not shared
  std::int64_t d_model = 512;
  int encoder_layers = 6;
  int decoder_layers = 6;
  int encoder_heads = 8;
  int decoder_heads = 8;
  int decoder_kv_heads = 0;  ///< of self-attention (Ainslie et al., "GQA", 2023); 0: as many as decoder_heads
  std::int64_t d_head = 0;   ///< 0: d_model / heads
  std::int64_t encoder_ff = 2048;
  std::int64_t decoder_ff = 2048;
  kernels::Activation activation = kernels::Activation::relu;
  bool gated = false;  ///< feed-forward outer(activation(gate(x)) * up(x)) (Shazeer 2020)
  bool query_key_value_bias = true;
  bool attention_output_bias = true;
  bool feed_forward_bias = true;

  NormPlacement norm = NormPlacement::post;
  NormKind norm_kind = NormKind::layer;
  double norm_epsilon = 1e-5;
  double norm_weight_offset = 0;  ///< added to the weights of RMS norms: 1 in Gemma
  bool embedding_norm = false;    ///< of what enters the first layer
  bool query_key_norm = false;    ///< each head of queries and keys has an RMS norm (Qwen 3)
  bool parallel_residual =
      false;  ///< x + attention(norm(x)) + feed_forward(norm(x)) (Wang, Komatsuzaki, "GPT-J", 2021)

  double attention_scale = 0;           ///< of products of queries and keys; 0: 1 / sqrt(d_head)
  bool scale_by_inverse_layer = false;  ///< and divided by the number of the layer, from 1
  double attention_soft_cap = 0;        ///< scores are c tanh(score / c); 0: no cap
  double logits_soft_cap = 0;           ///< logits likewise
  Positions positions = Positions::sinusoidal;
  std::int64_t max_positions = 1024;  ///< longest sequence, in tokens
  int position_offset = 0;            ///< row of the position table that the first token has
  double rotary_base = 10000;
  double rotary_fraction = 1;  ///< of each head's dimensions that turn
  RotaryScaling rotary_scaling = {};
  int relative_buckets = 32;
  int relative_max_distance = 128;

  bool scale_embedding = true;         ///< by sqrt(d_model)
  bool round_embedding_scale = false;  ///< to the type computed with
  bool scale_output = false;           ///< hidden states by 1 / sqrt(d_model) before the output projection
  bool tied_output = true;             ///< the output projection is the (target) embedding
  bool shared_embeddings = true;       ///< source and target have one embedding
  bool logits_bias = false;            ///< the checkpoint has a (not learnt) final_logits_bias
  int token_types = 0;                 ///< rows of the table of segments that an encoder adds to its embeddings
  EncoderHeads heads = {};

  /// How layers attend: one for each layer, one for all, or none for full attention (causal in the decoder).
  std::vector<LayerAttention> encoder_attention = {};
  std::vector<LayerAttention> decoder_attention = {};  ///< self-attention; always causal besides
  std::vector<LayerAttention> cross_attention = {};

  std::int32_t pad = -1;  ///< token ids; -1 where the model has none
  std::int32_t bos = -1;
  std::int32_t eos = 0;
  std::vector<std::int32_t> more_eos = {};  ///< further tokens that end a text
  std::int32_t decoder_start = -1;          ///< first input of the decoder of an encoder-decoder
  std::int32_t forced_bos = -1;             ///< what its first output is forced to be, such as a language

  float dropout = 0.1f;            ///< of sublayer outputs ("residual dropout", 5.4)
  float embedding_dropout = 0.1f;  ///< of the sums of embeddings and positions (5.4)
  float attention_dropout = 0;     ///< of attention weights
  float activation_dropout = 0;    ///< inside the feed-forward
  float final_dropout = 0;         ///< of what the stacks give

  bool encoder_decoder() const { return encoder_layers > 0 && decoder_layers > 0; }
  bool encoder_only() const { return decoder_layers == 0; }
  bool decoder_only() const { return encoder_layers == 0; }
  /// Whether sequences may not be longer than max_positions.
  bool limited_positions() const { return positions != Positions::rotary && positions != Positions::relative; }
  std::int64_t d_head_of(int heads_of_layer) const { return d_head > 0 ? d_head : d_model / heads_of_layer; }
  int kv_heads_of(AttentionKind kind) const;
  /// Elements of keys and values that decoding keeps of a token in each layer.
  std::int64_t cache_width() const;
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
