/// The differentiable operations. Each is one file: forward, and the backward it records when Context::tape is set. The
/// type computed in is that of the inputs (f32, bf16, or f64 for gradient checks).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attention/trace.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/rotary.h"
#include "rapt/attention.h"
#include "rapt/linear_form.h"

namespace rapt::ops {

/// A fresh dropout mask while training; no dropout otherwise.
Dropout draw_dropout(Context& ctx, float probability);

/// y = x W^T + b, then ReLU if asked. x: [tokens, inputs]; weight: [outputs, inputs]; bias: [outputs] or null; y:
/// [tokens, outputs] of type `result` (x's type, or f32 without a tape).
Var linear(Context& ctx, const Var& x, const WeightPtr& weight, const WeightPtr& bias, bool relu, DType result);

/// y = dropout(activation(x)).
Var activation(Context& ctx, kernels::Activation activation, const Var& x, float dropout);

/// dropout(activation(x_1) * x_2) with x = [x_1 x_2]: [tokens, 2 * width] -> [tokens, width] (Shazeer, "GLU Variants
/// Improve Transformer", 2020).
Var gated(Context& ctx, kernels::Activation activation, const Var& x, float dropout);

/// dropout(x).
Var dropout(Context& ctx, const Var& x, float probability);

/// factor * x.
Var scale(Context& ctx, const Var& x, double factor);

/// cap * tanh(x / cap). Without a tape the result takes over x's storage.
Var soft_cap(Context& ctx, const Var& x, double cap);

/// Some rows of x, which must ascend: [tokens, width] -> [rows, width].
Var select_rows(Context& ctx, const Var& x, std::vector<std::int32_t> rows);

/// x + dropout(s).
Var add(Context& ctx, const Var& x, const Var& s, float dropout);

/// LayerNorm(x) (Ba et al. 2016). x: [tokens, width]; weight, bias: [width].
Var layer_norm(Context& ctx, const Var& x, const WeightPtr& weight, const WeightPtr& bias, double epsilon);

/// Root mean square normalisation (Zhang, Sennrich 2019): x / sqrt(mean(x^2) + epsilon) * (weight + weight_offset).
struct RmsNorm {
  WeightPtr weight;
  double weight_offset = 0;
  double epsilon = 1e-6;
};
/// Of rows. x: [tokens, width], weight: [width].
Var rms_norm(Context& ctx, const Var& x, const RmsNorm& norm);
/// Of the heads in columns [begin, begin + heads * d_head) of x, each on its own; weight: [d_head].
struct HeadsNorm {
  std::int64_t begin = 0;
  int heads = 1;
  RmsNorm norm;
};
/// x with some of its heads normalised; the parts do not overlap.
Var norm_heads(Context& ctx, const Var& x, std::span<const HeadsNorm> parts);

/// x with the heads in its columns [0, heads * d_head) at length 1: h / sqrt(|h|^2 + 1e-6).
Var normalize_heads(Context& ctx, const Var& x, int heads, int d_head);

/// LayerNorm(x + dropout(s)): the end of a post-norm sublayer ("Attention Is All You Need", 5.4) in one pass.
Var add_and_norm(Context& ctx, const Var& x, const Var& s, float dropout, const WeightPtr& weight,
                 const WeightPtr& bias, double epsilon);

/// How tokens become vectors.
struct EmbeddingOptions {
  double scale = 1;                         ///< sqrt(d_model) in the paper, 3.4
  std::span<const std::int32_t> positions;  ///< one for each token
  Tensor fixed_positions;                   ///< table [positions, width], not learnt; or
  WeightPtr learned_positions;              ///< table [positions, width]; or neither
  std::span<const std::int32_t> types;      ///< one for each token, where there is a table of them
  WeightPtr type_table;                     ///< [types, width] (Devlin et al., "BERT", 2019, 3: segments); may be null
  float dropout = 0;
};
/// dropout(scale * table[ids] + positions + types): [tokens, width], of type Context::compute.
Var embedding(Context& ctx, std::span<const std::int32_t> ids, const WeightPtr& table, const EmbeddingOptions& options);

/// Rotary positions (Su et al. 2021): turns the heads in columns [begin, begin + heads * d_head) of x. The result takes
/// over x's storage, so x's value must not be needed by the operation that made it or by any other.
struct RotaryOptions {
  std::int64_t begin = 0;
  int heads = 1;
  int d_head = 0;
  std::shared_ptr<const kernels::RotaryTurns> turns;
  double scale = 1;  ///< of what is turned
  std::span<const std::int32_t> positions;
};
Var rotary(Context& ctx, const Var& x, const RotaryOptions& options);

/// Where the heads of one operand of attention lie in a value: columns [begin, begin + heads * d) of every row.
struct HeadColumns {
  Var values;
  std::int64_t begin = 0;
};
/// A linear form of attention (rapt/linear_form.h), with what it points to.
struct LinearAttention {
  attention::LinearForm::Kind kind = attention::LinearForm::Kind::elu_plus_one;
  bool causal = true;
  attention::RandomFeatures features = {};  ///< of favor
  std::vector<double> decays = {};          ///< [heads], of retention
};
struct AttentionOptions {
  int heads = 1;
  int kv_heads = 1;
  int d_head = 0;
  double scale = 0;     ///< of the products of queries and keys; 0: 1 / sqrt(d_head)
  double soft_cap = 0;  ///< of scores; 0: none
  attention::Visibility visibility;
  WeightPtr relative_table = nullptr;  ///< [buckets, heads], or null: attention::RelativeBias
  int relative_max_distance = 128;
  bool relative_bidirectional = true;
  std::optional<LinearAttention> linear = std::nullopt;  ///< in place of softmax over what is visible
  float dropout = 0;                                     ///< of softmax's weights
  AttentionKind kind = AttentionKind::encoder;           ///< with `layer`, what Context::trace is told
  int layer = 0;
};
/// softmax(Q K^T / sqrt(d_head)) V per head and sequence ("Attention Is All You Need", 3.2.1), or the linear form that
/// the options ask for: [query tokens, heads * d_head]. Spans index the rows of q, k and v.
Var attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
              std::vector<attention::Span> spans, const AttentionOptions& options);
Var scaled_dot_product_attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
                                 std::vector<attention::Span> spans, const AttentionOptions& options);
/// The gates of the gated delta rule (kernels/delta_gates.h): z: [tokens, 2 * kv_heads] -> [alpha beta] of f64 or f32;
/// a_log, dt_bias: [kv_heads].
Var delta_gates(Context& ctx, const Var& z, const WeightPtr& a_log, const WeightPtr& dt_bias);

/// What a linear form may need besides queries, keys and values.
struct LinearOperands {
  Var gates = {};  ///< of the gated delta rule: what delta_gates gives
  /// What the sequences have seen before, to be replaced by what they have seen after these tokens ([sequences,
  /// linear_state_size] of f64 or f32); then there must be no tape. Undefined: nothing, and not wanted.
  Tensor states = {};
};
/// The linear form alone.
Var linear_attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
                     std::vector<attention::Span> spans, const AttentionOptions& options,
                     const LinearOperands& more = {});
/// Elements in a sequence's state.
std::int64_t linear_state_size(const AttentionOptions& options);

struct CrossEntropyOptions {
  double label_smoothing = 0;
  double gradient_scale =
      0;           ///< of the sum over the tokens: 1 / tokens for their mean; needed when the context has a tape
  Tensor row_nll;  ///< f32 [tokens], may be undefined; receives -log p of each target
};
/// Cross-entropy of next tokens with label smoothing ("Attention Is All You Need", 5.4). logits: [tokens, vocab]; with
/// a tape they are overwritten by gradient_scale times their gradient, and the backward starts here.
kernels::CrossEntropySums cross_entropy(Context& ctx, const Var& logits, std::span<const std::int32_t> targets,
                                        const CrossEntropyOptions& options);

}  // namespace rapt::ops
