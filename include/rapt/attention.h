/// Scaled dot-product attention on ragged batches ("Attention Is All You Need", 3.2.1): exact, differentiable in every
/// input, with any pattern of visibility, and able to say what it attended to. docs/attention.md is its guide.
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
};

/// What a call is asked to say about the weights it computes (before dropout). Everything is optional: what is null or
/// 0 is not computed and costs nothing. Memory grows with tokens, never with their square.
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
  /// [., heads] of type S, indexed like q's tokens, or null; -inf where nothing is seen.
  void* log_sum_exp = nullptr;
  const Statistics* statistics = nullptr;  ///< written by forward()
};

/// out, log_sum_exp and statistics from q, k and v. key_mass, pooled and row_weights need a place for log_sum_exp.
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
  /// Not a gradient, but for nothing here: what Statistics::key_mass says, without its own pass.
  float* key_mass = nullptr;
};

/// The gradients given d_out; weights are rebuilt from the outputs of the forward pass, nothing of quadratic size is
/// stored. No two sequences may share key rows here, and there are no pages.
void backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
              const Gradients& gradients, int threads = 0);

/// The attention weights themselves, for one sequence and one head, without dropout: weights[query, key], row-major
/// [query_count, key_count]; exactly 0 where a key is not visible.
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

/// Which way a forward call takes and why: instruction set, tiles or rows, visibility, what is added to scores.
std::string explain(const Problem& problem, DType dtype);

}  // namespace rapt::attention
