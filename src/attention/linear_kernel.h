/// What linear.cpp asks of the inner loops (linear_*.isa.cpp). Plain data and declarations only: anything inline in
/// here could be linked from the copy compiled for an instruction set the processor lacks.
///
/// All forms share one shape. A sequence is a list of chunks; a chunk has up to chunk_tokens keys and the queries that
/// stand at them. A state runs through the list:
///   state after = r1 * state before + r2 * (what the chunk's keys add)
/// and queries get what they see of their own chunk, plus what they read from the state before it. Where queries see
/// every key, chunks with keys only come first and chunks with queries only follow.
#pragma once

#include "attention/kernel.h"

namespace rapt::attention::linear {

constexpr int chunk_tokens = 64;

/// From queries and keys to features.
enum class Map : std::uint8_t { none, elu_plus_one, relu, favor };

/// Offsets into the table of a decay, in elements. The reversed tables hold the entry of n = chunk_tokens - 1 - x at x,
/// and zeros from x = chunk_tokens on, so that a row of a lower triangle of powers is a part of them.
struct DecayTable {
  static constexpr int reversed = 0;                        ///< decay^n
  static constexpr int powers = 2 * chunk_tokens;           ///< decay^n for n = 0..chunk_tokens
  static constexpr int reversed_slopes = 4 * chunk_tokens;  ///< n decay^(n-1)
  static constexpr int slopes = 6 * chunk_tokens;           ///< the same for n = 0..chunk_tokens
  static constexpr int size = 8 * chunk_tokens;
};

/// What all items of a call have in common. S is the type computed with.
struct Call {
  DType dtype = DType::f32;
  Map map = Map::none;
  bool normalised = false;  ///< divided by the sum of weights
  bool decayed = false;     ///< retention: every head has its decay, and its state
  bool delta = false;       ///< the gated delta rule
  bool causal = true;
  std::int32_t heads = 0;
  std::int32_t d_key = 0, d_value = 0;
  std::int32_t width = 0;  ///< features: rows of the state
  double query_scale = 1;  ///< q and k are multiplied by these when they are loaded
  double key_scale = 1;
  /// favor: directions [width, d_key] and their transpose, rows padded with zeros to multiples of 16.
  const void* directions = nullptr;
  const void* directions_t = nullptr;
  std::int64_t directions_stride = 0, directions_t_stride = 0;
  /// A DecayTable of S per head; one for all heads, of the decay 1, when decay_stride is 0.
  const void* decay_tables = nullptr;
  std::int64_t decay_stride = 0;
  Operand q, k, v, out, alpha, beta;
  Operand d_out, dq, dk, dv, d_alpha, d_beta;
  void* log_sum_exp = nullptr;  ///< [query tokens, heads] of S: log of the denominators; null: not wanted
};

/// Keys [first_key, first_key + keys) and queries [first_query, first_query + queries), counted within the sequence.
/// Query first_query + i stands at key first_key + diagonal + i.
struct Chunk {
  std::int32_t first_key, keys;
  std::int32_t first_query, queries;
  std::int32_t diagonal;
};

/// One chunk at work. States are those of all heads of the item that have one, in the kernels' own layout.
struct Step {
  Chunk chunk{};
  void* memory = nullptr;        ///< Sizes::chunk bytes, handed from one kernel to the next
  const void* before = nullptr;  ///< the state before the chunk; null: nothing was seen
  void* after = nullptr;         ///< where the state after it goes; null: nobody asks
  /// Of the backward pass: the gradient of the state after the chunk (null: zero), and where that of the state before
  /// it goes (null: nobody asks).
  const void* d_after = nullptr;
  void* d_before = nullptr;
  double* d_decay = nullptr;  ///< [heads of the item]: this chunk's part; null: not wanted
};

/// Bytes of memory, multiples of 64.
struct Sizes {
  std::int64_t chunk = 0;           ///< of a chunk in the forward pass
  std::int64_t chunk_backward = 0;  ///< of a chunk in the backward pass
  std::int64_t state = 0;           ///< of the states of an item
  std::int64_t recurrent = 0;       ///< of an item computed token by token
};

/// The inner loops compiled for one instruction set. Every function computes from its own step and item only, so steps
/// may be split over threads in any way, as long as those of one chunk come in order.
struct Kernels {
  void (*measure)(const Call& call, const Item& item, Sizes* sizes);

  /// Between states as the caller keeps them and those of a step.
  void (*import_state)(const Call& call, const Item& item, const void* from, void* to);
  void (*export_state)(const Call& call, const Item& item, const void* from, void* to);

  /// Forward: what does not depend on the state before the chunk; the state after it, for rows [first, last) (columns
  /// for the delta rule), multiples of 16 but for the last; the chunk's queries.
  void (*prepare)(const Call& call, const Item& item, const Step& step);
  void (*advance)(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last);
  void (*output)(const Call& call, const Item& item, const Step& step);

  /// Backward, given the states of the forward pass and in reverse order: what does not depend on the gradient of the
  /// state after the chunk; the gradient of the state before it; the rest.
  void (*prepare_backward)(const Call& call, const Item& item, const Step& step);
  void (*advance_backward)(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last);
  void (*finish_backward)(const Call& call, const Item& item, const Step& step);

  /// A whole item token by token; `state` is in the caller's layout and updated in place.
  void (*recurrent)(const Call& call, const Item& item, void* state, void* memory);

  /// Like those of softmax, for items with one head; attention::Call::linear says the rest. row_statistics writes what
  /// is asked about the rows of an item.
  WeightKernels of_weights;
  Kernel* row_statistics;
};

}  // namespace rapt::attention::linear
