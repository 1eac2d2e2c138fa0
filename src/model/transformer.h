/// The Transformer ("Attention Is All You Need"): encoder and decoder, or one of them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "autograd/ops.h"
#include "autograd/parameter.h"
#include "model/cache.h"
#include "model/config.h"
#include "model/layers.h"

namespace rapt {

/// What one training or scoring step sees.
struct Batch {
  RaggedTokens source;                 ///< what the encoder reads; empty for decoder-only models
  std::vector<std::int32_t> segments;  ///< of its tokens, where config.token_types > 0; empty: all 0
  RaggedTokens input;                 ///< what the decoder reads: the targets shifted right by one, after decoder_start
  std::vector<std::int32_t> targets;  ///< what it should say, one for each token of input (of source without decoder)
  /// Where not all tokens are to be predicted: the rows of input (or source) that the targets are of, ascending.
  std::vector<std::int32_t> predicted = {};

  std::int64_t target_tokens() const { return static_cast<std::int64_t>(targets.size()); }
};

/// What decoding keeps, in elements.
struct CacheSize {
  std::int64_t of_token = 0;         ///< keys and values of softmax layers, for each token of a hypothesis
  std::int64_t of_hypothesis = 0;    ///< states of linear layers
  std::int64_t of_source_token = 0;  ///< keys and values of cross-attention, for each token of a source
};

using LossOptions = ops::CrossEntropyOptions;

class Transformer {
 public:
  /// All weights zero, in f32 (f64 for gradient checks). Throws Error when the config is inconsistent.
  explicit Transformer(const ModelConfig& config, DType dtype = DType::f32);

  /// Matrices uniform in +-sqrt(6 / (inputs + outputs)) (Glorot, Bengio 2010), embeddings normal with deviation
  /// d_model^-1/2 (pad's row zero), biases 0, norms 1. Models of one stack: normal with deviation 0.02, residual
  /// projections 0.02 / sqrt(2 layers) (Radford et al. 2019). Of the gated delta rule, a_log is the logarithm of
  /// numbers uniform in (0, 16] and dt_bias the inverse of softplus at numbers whose logarithms are uniform between
  /// those of 1e-3 and 1e-1 (Dao, Gu, "Transformers are SSMs", 2024).
  void initialize(std::uint64_t seed);
  /// One of parameters() alone, as initialize(seed) does it.
  void initialize(const Parameter& parameter, std::uint64_t seed);

  const ModelConfig& config() const { return config_; }
  /// Every parameter once, under rapt's own names ("encoder.0.self_attention.query.weight"), in a fixed order.
  const ParameterList& parameters() const { return parameters_; }
  /// Number of learnt numbers.
  std::int64_t parameter_count() const;
  CacheSize cache_size() const;

  /// Summed cross-entropy of a batch. With a tape in the context, run_backward then fills the weights' gradients.
  kernels::CrossEntropySums loss(Context& ctx, const Batch& batch, const LossOptions& options) const;
  /// Logits of every decoder token (of every token, without decoder), or of those predicted: [target tokens, vocab], of
  /// type ctx.compute.
  Tensor logits(Context& ctx, const Batch& batch) const;

  /// The encoder's output ("memory"): [source tokens, d_model]. segments: of each token; empty: all 0.
  Ragged encode(Context& ctx, const RaggedTokens& source, std::span<const std::int32_t> segments = {}) const;
  /// tanh(W h + b) of the first token of each sequence (Devlin et al., "BERT", 2019, 3): [sequences, d_model]. Throws
  /// Error unless the model has a pooler. Not differentiable.
  Tensor pool(Context& ctx, const Ragged& hidden) const;
  /// The decoder's hidden states for `input`. memory: what encode gave (null when decoder-only); sequence i of the
  /// input attends to sequence i of the memory. A cache, if given, holds the earlier tokens of each sequence and
  /// receives these.
  Ragged decode(Context& ctx, const RaggedTokens& input, const Ragged* memory, DecoderCache* cache = nullptr) const;
  /// Hidden states to logits, f32 or ctx.compute.
  Var project(Context& ctx, const Var& hidden, DType dtype) const;

 private:
  void require_positions(const Sequences& sequences, const DecoderCache* cache) const;
  Var projected_memory(Context& ctx, std::size_t layer, const Ragged* memory, DecoderCache* cache) const;
  Var forward(Context& ctx, const Batch& batch) const;

  ModelConfig config_;
  TokenEmbedding source_;
  TokenEmbedding target_;
  std::vector<EncoderLayer> encoder_;
  std::vector<DecoderLayer> decoder_;
  Norm encoder_norm_;
  Norm decoder_norm_;
  MaskedLanguageHead masked_language_;
  Linear output_;
  Linear pooler_;
  Linear next_sentence_;
  ParameterList parameters_;
};

}  // namespace rapt
