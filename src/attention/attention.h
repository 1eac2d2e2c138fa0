/// Scaled dot-product attention on ragged batches ("Attention Is All You Need", 3.2.1): the one operator through which
/// all attention of the engine goes.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"

namespace rapt::attention {

/// One sequence of a ragged batch: which rows are its queries and which rows of keys and values belong to it. Key
/// ranges may lie anywhere, be shared by several sequences (beams over one source) and leave gaps (preallocated
/// caches).
struct Span {
  std::int32_t query_begin = 0;
  std::int32_t query_count = 0;
  std::int32_t key_begin = 0;
  std::int32_t key_count = 0;
};

/// Which keys a query may see.
struct Visibility {
  /// Query i of n sees keys j <= key_count - n + i: the last query sees every key.
  bool causal = false;
};

/// What is computed.  heads % kv_heads == 0; query head h uses key-value head h / (heads / kv_heads).
struct Problem {
  std::span<const Span> sequences;
  int heads = 1;
  int kv_heads = 1;
  int d_key = 0;
  int d_value = 0;
  double scale = 1;  ///< multiplies q.k; 1/sqrt(d_key) in the paper
  Visibility visibility;
  Dropout dropout;  ///< of the weights; the mask is a function of (query token, head, key)
};

/// Rows of one operand: element (token, head, i) lies at data[token * stride + head * d + i].  f32, bf16 or f64.
struct Rows {
  DType dtype = DType::f32;
  void* data = nullptr;
  std::int64_t stride = 0;  ///< elements from one token to the next
};

/// out[token, h, :] = sum_j softmax_j(scale * q.k_j) v_j over the visible keys; a query that sees no key gives zeros.
/// q: [., heads, d_key], k: [., kv_heads, d_key], v: [., kv_heads, d_value], out: [., heads, d_value], all of one
/// dtype. log_sum_exp: [., heads] indexed like q's tokens, in f32 (f64 when the operands are f64), or null; -inf where
/// nothing is seen. Accumulates in f32 (f64 for f64). Same bits for any number of threads and for a sequence alone or
/// in a batch.
void forward(const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out, void* log_sum_exp);

/// Gradients of q, k, v given d_out; rebuilt from log_sum_exp, nothing of quadratic size is stored. Overwrites the rows
/// of dq, dk and dv that the sequences name. No two sequences may share key rows here.
void backward(const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out, const void* log_sum_exp,
              Rows d_out, Rows dq, Rows dk, Rows dv);

/// The attention weights themselves, for one sequence and one head, without dropout: weights[query, key], row-major
/// [query_count, key_count]; exactly 0 where a key is not visible.
void weights(const Context& ctx, const Problem& problem, Rows q, Rows k, const void* log_sum_exp, int sequence,
             int head, std::span<float> weights);

}  // namespace rapt::attention
