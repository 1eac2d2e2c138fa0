/// What the operator asks of the inner loops (*.isa.cpp). Plain data and declarations only: anything inline in here
/// could be linked from the copy compiled for an instruction set the processor lacks.
#pragma once

#include <cstdint>

#include "rapt/dtype.h"

namespace rapt::attention {

namespace linear {
struct Call;
}

/// Keys of a tile of scores. They begin at multiples of it, so that what a row gives depends on its own keys only.
constexpr std::int32_t tile_keys = 128;

/// Element (token, head, i) of an operand lies at data[token * stride + head * d + i].
struct Operand {
  void* data = nullptr;
  std::int64_t stride = 0;
};

/// Some rows and keys of one sequence. Rows are (query, head) pairs of the query heads [head, head + heads), all of
/// which use key-value head kv_head; the heads of one query lie side by side.
struct Item {
  std::int32_t sequence;                                        ///< its index in the batch
  std::int32_t query_begin, query_count, key_begin, key_count;  ///< the whole sequence, as in Span
  std::int32_t first_query, queries;
  std::int32_t first_key, keys;
  std::int32_t head, heads, kv_head;
  std::int32_t parts = 1;            ///< of an item that adds up: the parts of its result that lie at `partial`
  void* partial = nullptr;           ///< where an item that sees some of the keys leaves its part of the result
  float* map = nullptr;              ///< its share of the pooled maps: [heads, bins, bins that its keys touch]
  void* shared_gradients = nullptr;  ///< see added_scores.h
};

/// How the kernels ask which keys queries see (rapt/visibility.h). `full` and `causal`, the patterns of short
/// sequences, are answered without a call.
struct Pattern {
  enum Kind : std::int32_t { full, causal, general } kind = full;
  const void* visibility = nullptr;
  /// The keys [bounds[0], bounds[1]) outside of which the queries [first_query, last_query) see nothing.
  void (*bounds)(const void* visibility, const Item& item, std::int64_t first_query, std::int64_t last_query,
                 std::int64_t* bounds) = nullptr;
  /// 0: nothing is visible, 1: perhaps something, 2: everything.
  int (*classify)(const void* visibility, const Item& item, std::int64_t first_query, std::int64_t last_query,
                  std::int64_t first_key, std::int64_t last_key) = nullptr;
  /// Bit b: whether the query sees key first_key + b.
  std::uint64_t (*bits)(const void* visibility, const Item& item, std::int64_t query, std::int64_t first_key) = nullptr;
};

/// What is done to scores beyond scaling, and which gradients of it are wanted.
struct AddedScores {
  bool any = false;  ///< whether scores need a pass of their own
  double soft_cap = 0;
  const void* bias = nullptr;
  std::int64_t by_sequence = 0, by_head = 0, by_query = 0, by_key = 0;
  /// [heads, 2 * reach + 1]: what is added at the distances -reach..reach of the key from the query's position.
  const void* relative = nullptr;
  std::int64_t reach = 0;
  bool relative_from_start = false;  ///< positions are counted as Align::start says
  const void* alibi_slopes = nullptr;
  const void* sinks = nullptr;
  void* d_bias = nullptr;  ///< like bias; items that are run at the same time do not meet in it
  bool d_relative = false;
  bool d_slopes = false;
};

/// What is asked about rows: as in Statistics.
struct RowStatistics {
  bool any = false;
  float* maximum = nullptr;
  std::int32_t* maximum_key = nullptr;
  float* entropy = nullptr;
  float* mean_distance = nullptr;
  float* mass_on_first = nullptr;
  float* mass_on_previous = nullptr;
  float* mass_on_same = nullptr;
  std::int32_t top = 0;
  std::int32_t* top_keys = nullptr;
  float* top_weights = nullptr;
};

/// What all work items of one call share. Operands a kernel has no use for are null. S is f64 for f64, else f32.
struct Call {
  DType dtype = DType::f32;  ///< of all operands
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t d_key = 0;
  std::int32_t d_value = 0;
  double scale = 1;
  Pattern pattern;
  /// A weight is dropped when its 16 random bits are below this; 0 means no dropout.
  std::uint32_t drop_below = 0;
  /// What kept weights are multiplied by: one over the exact kept fraction, 65536 / (65536 - drop_below).
  double keep_scale = 1;
  std::uint32_t random_key[2] = {};
  AddedScores added;
  std::int32_t page_size = 0;  ///< of keys and values; 0: no pages
  const std::int32_t* page_table = nullptr;
  Operand q = {}, k = {}, v = {}, out = {};
  void* log_sum_exp = nullptr;  ///< [query tokens, heads] of S
  Operand d_out = {}, dq = {}, dk = {}, dv = {};
  void* delta = nullptr;  ///< [query tokens, heads] of S: rowsum(d_out out)
  RowStatistics rows;
  float* key_mass = nullptr;  ///< [key rows, heads]
  std::int32_t bins = 0;      ///< of the pooled map
  /// Of a linear form: what its kernels read besides log_sum_exp and what is asked.
  const linear::Call* linear = nullptr;
};

/// Computes items one after the other. An item writes nothing but its own results and uses nothing of its neighbours',
/// so items may be split over calls and threads in any way.
using Kernel = void(const Call& call, const Item* items, std::int64_t count);

// forward_items writes out, log_sum_exp and what is asked about rows. decode_items computes the same for few rows, and
// of all heads: one pass over the item's keys, whose result goes to `partial`; merge_items makes out and log_sum_exp of
// the parts. delta_items writes delta. backward_items writes dk and dv of the item's keys, and dq or the item's part of
// it, which add_shares_items add up, and what is asked about keys, as below. weights_items writes the rows of weights
// of one head to `partial`, [queries, key_count]. tile_statistics_items writes key_mass for the item's keys and one
// head, and to `map` its share of the pooled map.
#define RAPT_ATTENTION_KERNELS                                                                            \
  forward_items, decode_items, merge_items, delta_items, backward_items, add_shares_items, weights_items, \
      tile_statistics_items
namespace portable {
Kernel RAPT_ATTENTION_KERNELS;
}
namespace avx2 {
Kernel RAPT_ATTENTION_KERNELS;
}
namespace avx512 {
Kernel RAPT_ATTENTION_KERNELS;
}
#undef RAPT_ATTENTION_KERNELS

/// The kernels that look at weights, of softmax or of the linear forms.
struct WeightKernels {
  Kernel *weights, *tile_statistics;
};

/// At least `bytes` of memory that belongs to the calling thread, 64-byte aligned, until its next call.
void* thread_scratch(std::int64_t bytes);

}  // namespace rapt::attention
