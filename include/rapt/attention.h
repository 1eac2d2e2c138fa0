/// Scaled dot-product attention on ragged batches ("Attention Is All You Need", 3.2.1): exact, differentiable in every
/// input, with any pattern of visibility, and able to say what it attended to; and linear attention
/// (rapt/linear_form.h) by the same calls. docs/attention.md is its guide.
///
/// Everything here works on memory of the caller, throws rapt::Error for arguments that do not fit together before any
/// result is written, and gives the same bits for any number of threads and for a sequence alone or in a batch.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "rapt/dropout.h"
#include "rapt/dtype.h"
#include "rapt/visibility.h"

namespace rapt::attention {

struct LinearForm;

/// Rows of one operand: element (token, head, i) lies at data[token * stride + head * d + i].  f32, bf16 or f64. Below,
/// S is float for f32 and bf16 and double for f64: the type that sums are accumulated in.
struct Rows {
  DType dtype = DType::f32;
  void* data = nullptr;
  std::int64_t stride = 0;  ///< elements from one token to the next
};

/// Paged storage of keys and values: key row x, counted as Span::key_begin counts, is stored in row
/// table[x / size] * size + x % size. size 0: rows are where they say.
struct Pages {
  std::int32_t size = 0;
  std::span<const std::int32_t> table = {};
};

/// A dense bias added to scores: the element for (sequence, head, query, key), query and key counted within the
/// sequence, is data[sequence * by_sequence + head * by_head + query * by_query + key * by_key]; a stride of 0
/// broadcasts.
struct Bias {
  const void* data = nullptr;  ///< of type S; null: none
  std::int64_t by_sequence = 0;
  std::int64_t by_head = 0;
  std::int64_t by_query = 0;
  std::int64_t by_key = 0;
};

/// The relative position bias of T5 (Raffel et al. 2020, 2.1): a learned number per bucket of distances and head.
struct RelativeBias {
  const void* table = nullptr;  ///< [buckets, heads] of type S; null: none
  std::int32_t buckets = 32;
  std::int32_t max_distance = 128;
  bool bidirectional = true;  ///< half of the buckets for keys after the query's position
  Align align = Align::end;
};

/// What is computed. heads % kv_heads == 0; query head h uses key-value head h / (heads / kv_heads). The score of a
/// visible key is  c * tanh(scale * q.k / c) + bias + alibi + relative, with c the soft cap.
struct Problem {
  std::span<const Span> sequences;
  int heads = 1;
  int kv_heads = 1;
  int d_key = 0;        ///< 1..1024
  int d_value = 0;      ///< 1..1024
  double scale = 1;     ///< 1/sqrt(d_key) in the paper
  double soft_cap = 0;  ///< 0: none (Gemma 2)
  Visibility visibility = {};
  /// In place of softmax (rapt/linear_form.h); null: softmax. What follows goes with softmax only.
  const LinearForm* linear = nullptr;
  Bias bias = {};
  RelativeBias relative = {};
  /// [heads] of type S, or null: adds -slope * |distance from the query's position, aligned at the end| (Press et al.,
  /// "Train Short, Test Long", 2022).
  const void* alibi_slopes = nullptr;
  /// [heads] of type S, or null: scores of a key without value that every query sees (Xiao et al., "Efficient Streaming
  /// Language Models with Attention Sinks", 2023).
  const void* sinks = nullptr;
  Dropout dropout = {};  ///< of the weights; the mask is a function of (query token, head, key)
  Pages pages = {};      ///< of keys and values
};

struct Inputs {
  Rows q;  ///< [., heads, d_key]
  Rows k;  ///< [., kv_heads, d_key]
  Rows v;  ///< [., kv_heads, d_value]
  /// What sequences have seen before the keys of the call, for linear forms: [sequences, state_size(problem)] of type
  /// S, where zeros have seen nothing; null: nothing was seen. The keys of the call follow those of the state, and
  /// causal queries must not outnumber them.
  const void* states = nullptr;
};

/// What a call is asked to say about the weights it computes (before dropout). Everything is optional: what is null or
/// 0 is not computed and costs nothing. Memory grows with tokens, never with their square.
///
/// Of linear forms: those that are normalised say everything, scores being log phi(q).phi(k), by a pass over all pairs
/// whose time grows with the square of the length; a key of weight 0 counts as not visible. Retention gives row_weights
/// alone, gated_delta nothing. Keys that lie in a state are known no more, so there are no statistics then.
struct Statistics {
  // Of each row (query token, head), indexed like log_sum_exp; of the pass that computes the output. Rows that see
  // nothing have maximum -inf, key -1, and 0 for the rest.
  float* maximum = nullptr;             ///< the largest score
  std::int32_t* maximum_key = nullptr;  ///< its key, counted within the sequence; the first among equals
  float* entropy = nullptr;             ///< -sum_j p_j log p_j, in nats
  float* mean_distance = nullptr;       ///< sum_j p_j |j - position|, the position aligned at the end
  float* mass_on_first = nullptr;       ///< p of key 0
  float* mass_on_previous = nullptr;    ///< p of the key before the query's position
  float* mass_on_same = nullptr;        ///< p of the key at the query's position
  /// The heaviest keys, heaviest first, the first among equals: [., heads, top] keys and exact weights. Places that no
  /// key fills hold -1 and 0.
  int top = 0;
  std::int32_t* top_keys = nullptr;
  float* top_weights = nullptr;

  // These need the log_sum_exp of all keys, hence one more pass over the tiles.
  /// [., heads], indexed like k's rows: what each key received from all queries of its sequence. Sequences must not
  /// share key rows.
  float* key_mass = nullptr;
  /// [sequences, heads, bins, bins]: the sum of p over the queries of bin r and the keys of bin c; query i of n is in
  /// bin i * bins / n, keys likewise.
  int bins = 0;
  float* pooled = nullptr;
  /// Whole rows of weights: of query `rows[i]` (a row of q) and every head, row_weights[(i * heads + head) * row_stride
  /// + key]; what lies beyond the keys of the sequence is left alone.
  std::span<const std::int32_t> rows = {};
  float* row_weights = nullptr;
  std::int64_t row_stride = 0;

  bool of_rows() const {
    return maximum != nullptr || maximum_key != nullptr || entropy != nullptr || mean_distance != nullptr ||
           mass_on_first != nullptr || mass_on_previous != nullptr || mass_on_same != nullptr || top > 0;
  }
  bool of_tiles() const { return key_mass != nullptr || bins > 0; }
};

/// What a forward pass gives.
struct Outputs {
  /// [., heads, d_value]: out[token, h, :] = sum_j softmax_j(score_j) v_j; a query that sees no key gives zeros.
  Rows out;
  /// [., heads] of type S, indexed like q's tokens, or null; -inf where nothing is seen. Of linear forms that are
  /// normalised, the log of the denominator (-inf where it is 0); the others have none.
  void* log_sum_exp = nullptr;
  const Statistics* statistics = nullptr;  ///< written by forward()
  /// What the sequences have seen after the call, laid out like Inputs::states, which it may be; null: not wanted.
  void* states = nullptr;
};

/// out, log_sum_exp, statistics and states from q, k and v. key_mass, pooled and row_weights need a place for
/// log_sum_exp (but not row_weights of retention).
void forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, int threads = 0);

/// Where gradients go. dq, dk and dv are overwritten in the rows that the sequences name; the others, each of type S
/// and null when not wanted, are overwritten whole, reduced to the shape of what they belong to.
struct Gradients {
  Rows q, k, v;
  void* bias = nullptr;          ///< laid out like Bias::data
  void* relative = nullptr;      ///< [buckets, heads]
  void* alibi_slopes = nullptr;  ///< [heads]
  void* sinks = nullptr;         ///< [heads]
  void* scale = nullptr;         ///< one number
  void* soft_cap = nullptr;      ///< one number
  Rows alpha = {};               ///< with `beta`, of gated_delta; data null: not wanted. Overwritten like dk
  Rows beta = {};
  void* decays = nullptr;  ///< [heads]: of retention
  /// Not gradients, but nearly for nothing here: what Statistics::key_mass and Statistics::pooled say, without their
  /// own pass. Of softmax only: the backward pass of linear forms sees no weights of far keys.
  float* key_mass = nullptr;
  int bins = 0;
  float* pooled = nullptr;
};

/// The gradients given d_out; weights are rebuilt from the outputs of the forward pass, nothing of quadratic size is
/// stored. No two sequences may share key rows here, and there are no pages.
///
/// Linear forms compute everything again from the inputs, for sequences that start without a state, and do not look at
/// `outputs`; one state for each chunk of 64 keys is held at a time for each sequence and head at work. They have no
/// gradient of the scale, and no two sequences may share query rows.
void backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
              const Gradients& gradients, int threads = 0);

/// The attention weights themselves, for one sequence and one head, without dropout: weights[query, key], row-major
/// [query_count, key_count]; exactly 0 where a key is not visible. inputs.v is not looked at.
///
/// Of linear forms, the weights that they imply, so that out = weights v. Retention's, scale * decay^distance * q.k,
/// are of either sign and not normalised, and need no log_sum_exp; gated_delta is refused: later keys rewrite what
/// earlier ones stored. Keys that lie in a state are known no more, so there must be none.
void weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp, int sequence, int head,
             std::span<float> weights, int threads = 0);

/// Results for the same queries over disjoint sets of keys, each with its log_sum_exp, make the result for all of them.
/// parts and result: rows [0, tokens) of `heads` heads.
struct Merge {
  std::int64_t tokens = 0;
  int heads = 1;
  int d_value = 0;
};
void merge(const Merge& sizes, std::span<const Outputs> parts, const Outputs& result);

/// Which way a forward call takes and why: instruction set, tiles or rows, visibility, what is added to scores; of a
/// linear form, by chunks or token by token.
std::string explain(const Problem& problem, DType dtype);

}  // namespace rapt::attention
