/// The blocks of a Transformer. Each is a plain struct whose members are its weights, and reads like its paper.
#pragma once

#include <memory>
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

/// Normalisation of each token: by mean and deviation (Ba et al. 2016) or by root mean square (Zhang, Sennrich 2019).
struct Norm {
  NormKind kind = NormKind::layer;
  WeightPtr weight;
  WeightPtr bias;            ///< of kind layer
  double weight_offset = 0;  ///< of kind rms
  double epsilon = 1e-5;

  Var operator()(Context& ctx, const Var& x) const {
    if (kind == NormKind::layer) return ops::layer_norm(ctx, x, weight, bias, epsilon);
    return ops::rms_norm(ctx, x, rms());
  }
  /// norm(x + dropout(s)).
  Var of_sum(Context& ctx, const Var& x, const Var& s, float dropout) const {
    if (kind == NormKind::layer) return ops::add_and_norm(ctx, x, s, dropout, weight, bias, epsilon);
    return ops::rms_norm(ctx, ops::add(ctx, x, s, dropout), rms());
  }
  ops::RmsNorm rms() const { return {.weight = weight, .weight_offset = weight_offset, .epsilon = epsilon}; }
};

/// How tokens enter a stack ("Attention Is All You Need", 3.4, 3.5): dropout(norm(scale * token + position + segment)).
struct TokenEmbedding {
  WeightPtr table;
  double scale = 1;
  bool round_scale = false;     ///< to the type computed with
  Tensor fixed_positions;       ///< a table that is not learnt; or
  WeightPtr learned_positions;  ///< one that is; or neither
  WeightPtr segments;           ///< null: none
  Norm norm;                    ///< without weight: none
  float dropout = 0;

  /// [tokens, d_model]. positions: rows of the table of positions, one for each token; segments likewise.
  Var operator()(Context& ctx, std::span<const std::int32_t> ids, std::span<const std::int32_t> positions,
                 std::span<const std::int32_t> segments_of_tokens) const;
};

/// A sublayer with its residual connection, dropout and norm: norm(x + dropout(f(x))) (post, the paper's 5.4),
/// x + dropout(f(norm(x))) (pre) or x + dropout(norm_after(f(norm(x)))) (sandwich).
struct Residual {
  Norm norm;
  Norm norm_after;  ///< of sandwiches
  NormPlacement placement = NormPlacement::post;
  float dropout = 0;

  template <typename Sublayer>
  Var operator()(Context& ctx, const Var& x, Sublayer&& sublayer) const {
    if (placement == NormPlacement::post) return norm.of_sum(ctx, x, sublayer(x), dropout);
    return ops::add(ctx, x, branch(ctx, x, sublayer), dropout);
  }
  /// What is added to x, where the norm comes first.
  template <typename Sublayer>
  Var branch(Context& ctx, const Var& x, Sublayer&& sublayer) const {
    const Var y = sublayer(norm(ctx, x));
    return placement == NormPlacement::sandwich ? norm_after(ctx, y) : y;
  }
};

/// How the queries and keys of a self-attention are turned by their positions (Su et al. 2021).
struct Rotary {
  std::shared_ptr<const kernels::RotaryTurns> turns;  ///< null: not at all
  double scale = 1;
};

/// The gates of the gated delta rule (Yang et al., "Gated Delta Networks", 2024): how much of the state stays, and how
/// much of a key's value is written, for each token and key-value head.
struct DeltaGates {
  Linear projection;  ///< [alpha beta]: [2 * kv_heads, d_model]
  WeightPtr a_log;    ///< [kv_heads]; null: no gates
  WeightPtr dt_bias;  ///< [kv_heads]

  Var operator()(Context& ctx, const Var& x) const {
    return a_log ? ops::delta_gates(ctx, projection(ctx, x), a_log, dt_bias) : Var();
  }
};

/// Multi-head attention ("Attention Is All You Need", 3.2.2) of a sequence over itself. The three projections are one
/// matrix
/// [(heads + 2 kv_heads) * d_head, d_model], so that they are one product.
struct SelfAttention {
  Linear query_key_value;
  Linear output;
  ops::AttentionOptions options;
  Norm query_norm;  ///< of each head; without weight: none
  Norm key_norm;
  Rotary rotary;
  DeltaGates delta_gates;

  /// x: [tokens, d_model] -> [tokens, d_model]. positions: of each token, for rotary models. cache, if given, holds the
  /// keys and values of each sequence's earlier tokens and receives those of x.
  Var operator()(Context& ctx, const Var& x, const Sequences& sequences, std::span<const std::int32_t> positions,
                 SelfAttentionCache* cache) const;

 private:
  /// Queries, keys and values, normalised and turned.
  Var project(Context& ctx, const Var& x, std::span<const std::int32_t> positions) const;
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

/// Position-wise feed-forward (3.3): outer(activation(inner(x))), or outer(activation(gate(x)) * up(x)) where gate and
/// up are one matrix, `inner` (Shazeer 2020).
struct FeedForward {
  Linear inner;
  bool gated = false;
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
  bool parallel = false;  ///< both sublayers read x (Wang, Komatsuzaki 2021)

  /// What a layer sees besides x.
  struct Surroundings {
    Sequences sequences;
    std::span<const std::int32_t> positions;
    SelfAttentionCache* cache = nullptr;
    Var projected_memory;  ///< undefined in decoder-only models
    std::vector<attention::Span> memory_spans;
  };
  Var operator()(Context& ctx, Var x, const Surroundings& around) const {
    const auto attend = [&](const Var& y) {
      return self_attention(ctx, y, around.sequences, around.positions, around.cache);
    };
    const auto feed = [&](const Var& y) { return feed_forward(ctx, y); };
    if (parallel) {
      const Var attended = self_attention_residual(ctx, x, attend);
      return ops::add(ctx, attended, feed_forward_residual.branch(ctx, x, feed), feed_forward_residual.dropout);
    }
    x = self_attention_residual(ctx, x, attend);
    if (around.projected_memory.defined()) {
      x = cross_attention_residual(
          ctx, x, [&](const Var& y) { return cross_attention(ctx, y, around.projected_memory, around.memory_spans); });
    }
    return feed_forward_residual(ctx, x, feed);
  }
};

/// Logits of an encoder's tokens (Devlin et al., "BERT", 2019, 3.1): projects norm(activation(dense(x))).
struct MaskedLanguageHead {
  Linear dense;
  kernels::Activation activation = kernels::Activation::gelu;
  Norm norm;

  Var operator()(Context& ctx, const Var& x) const {
    return norm(ctx, ops::activation(ctx, activation, dense(ctx, x), 0));
  }
};

}  // namespace rapt
