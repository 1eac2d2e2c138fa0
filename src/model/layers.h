/// The blocks of a Transformer. Each is a plain struct whose members are its weights, and reads like its paper.
#pragma once

#include <string>
#include <vector>

#include "autograd/ops.h"
#include "model/cache.h"
#include "model/config.h"

namespace rapt {

/// y = x W^T + b.  weight: [outputs, inputs], bias: [outputs] or null.
struct Linear {
  WeightPtr weight;
  WeightPtr bias;

  Var operator()(Context& ctx, const Var& x) const { return ops::linear(ctx, x, weight, bias, false, x.dtype()); }
  Var relu(Context& ctx, const Var& x) const { return ops::linear(ctx, x, weight, bias, true, x.dtype()); }
};

/// Layer normalisation (Ba et al. 2016).
struct LayerNorm {
  WeightPtr weight;
  WeightPtr bias;
  double epsilon = 1e-5;

  Var operator()(Context& ctx, const Var& x) const { return ops::layer_norm(ctx, x, weight, bias, epsilon); }
};

/// A sublayer with its residual connection, dropout and norm: LayerNorm(x + dropout(f(x))) (post, the paper's 5.4) or
/// x + dropout(f(LayerNorm(x))) (pre).
struct Residual {
  LayerNorm norm;
  NormPlacement placement = NormPlacement::post;
  float dropout = 0;

  template <typename Sublayer>
  Var operator()(Context& ctx, const Var& x, Sublayer&& sublayer) const {
    if (placement == NormPlacement::pre) return ops::add(ctx, x, sublayer(norm(ctx, x)), dropout);
    return ops::add_and_norm(ctx, x, sublayer(x), dropout, norm.weight, norm.bias, norm.epsilon);
  }
};

/// Multi-head attention ("Attention Is All You Need", 3.2.2) of a sequence over itself. The three projections are one
/// matrix
/// [(heads + 2 kv_heads) * d_head, d_model], so that they are one product.
struct SelfAttention {
  Linear query_key_value;
  Linear output;
  ops::AttentionOptions options;
  int rotary = 0;  ///< dimensions of each head that turn with the position; 0: none
  double rotary_base = 10000;

  /// x: [tokens, d_model] -> [tokens, d_model]. positions: of each token, for rotary models. cache, if given, holds the
  /// keys and values of each sequence's earlier tokens and receives those of x.
  Var operator()(Context& ctx, const Var& x, const Sequences& sequences, std::span<const std::int32_t> positions,
                 SelfAttentionCache* cache) const;
};

/// Multi-head attention of the decoder over the encoder's output ("encoder-decoder attention", 3.2.3).
struct CrossAttention {
  Linear query;
  Linear key_value;
  Linear output;
  ops::AttentionOptions options;

  /// Keys and values of the memory: [source tokens, 2 * d_model].
  Var project_memory(Context& ctx, const Var& memory) const { return key_value(ctx, memory); }
  /// x: [tokens, d_model]; spans say which rows of memory each sequence of x sees.
  Var operator()(Context& ctx, const Var& x, const Var& projected_memory, std::vector<attention::Span> spans) const;
};

/// Position-wise feed-forward (3.3): outer(activation(inner(x))).
struct FeedForward {
  Linear inner;
  Linear outer;
  kernels::Activation activation = kernels::Activation::relu;
  float dropout = 0;  ///< between the two

  Var operator()(Context& ctx, const Var& x) const;
};

/// One encoder layer (3.1).
struct EncoderLayer {
  SelfAttention self_attention;
  Residual self_attention_residual;
  FeedForward feed_forward;
  Residual feed_forward_residual;

  Var operator()(Context& ctx, Var x, const Sequences& sequences) const {
    x = self_attention_residual(ctx, x, [&](const Var& y) { return self_attention(ctx, y, sequences, {}, nullptr); });
    return feed_forward_residual(ctx, x, [&](const Var& y) { return feed_forward(ctx, y); });
  }
};

/// One decoder layer (3.1); without cross-attention in decoder-only models.
struct DecoderLayer {
  SelfAttention self_attention;
  Residual self_attention_residual;
  CrossAttention cross_attention;
  Residual cross_attention_residual;
  FeedForward feed_forward;
  Residual feed_forward_residual;

  /// What a layer sees besides x.
  struct Surroundings {
    Sequences sequences;
    std::span<const std::int32_t> positions;
    SelfAttentionCache* cache = nullptr;
    Var projected_memory;  ///< undefined in decoder-only models
    std::vector<attention::Span> memory_spans;
  };
  Var operator()(Context& ctx, Var x, const Surroundings& around) const {
    x = self_attention_residual(
        ctx, x, [&](const Var& y) { return self_attention(ctx, y, around.sequences, around.positions, around.cache); });
    if (around.projected_memory.defined()) {
      x = cross_attention_residual(
          ctx, x, [&](const Var& y) { return cross_attention(ctx, y, around.projected_memory, around.memory_spans); });
    }
    return feed_forward_residual(ctx, x, [&](const Var& y) { return feed_forward(ctx, y); });
  }
};

}  // namespace rapt
