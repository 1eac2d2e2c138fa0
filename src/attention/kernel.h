/// What attention.cpp asks of the inner loops (*.isa.cpp). Plain data and declarations only: anything inline in here
/// could be linked from the copy compiled for an instruction set the processor lacks.
#pragma once

#include <cstdint>

#include "rapt/dtype.h"

namespace rapt::attention {

/// Element (token, head, i) of an operand lies at data[token * stride + head * d + i].
struct Operand {
  void* data = nullptr;
  std::int64_t stride = 0;
};

/// What all work items of one call share. Operands a kernel has no use for are null.
struct Call {
  DType dtype = DType::f32;  ///< of all operands; log_sum_exp is f64 for f64, else f32
  std::int32_t heads = 0;
  std::int32_t d_key = 0;
  std::int32_t d_value = 0;
  double scale = 1;
  bool causal = false;
  /// A weight is dropped when its 16 random bits are below this; 0 means no dropout.
  std::uint32_t drop_below = 0;
  /// What kept weights are multiplied by: one over the exact kept fraction, 65536 / (65536 - drop_below).
  double keep_scale = 1;
  std::uint32_t random_key[2] = {};
  Operand q = {}, k = {}, v = {}, out = {};
  void* log_sum_exp = nullptr;
  Operand d_out = {}, dq = {}, dk = {}, dv = {};
  float* weights = nullptr;  ///< [query_count, key_count] of the one sequence
};

/// Queries [first_query, first_query + queries) of one sequence, for the query heads [head, head + heads), all of which
/// use key-value head kv_head.
struct Item {
  std::int32_t query_begin, query_count, key_begin, key_count;  ///< the whole sequence, as in Span
  std::int32_t first_query, queries;
  std::int32_t head, heads, kv_head;
};

/// Computes items one after the other. An item writes nothing but its own results and uses nothing of its neighbours',
/// so items may be split over calls and threads in any way.
using Kernel = void(const Call& call, const Item* items, std::int64_t count);

// forward_items writes out and log_sum_exp. backward_items takes whole sequences only and writes dq, dk and dv.
// weights_items writes weights, for one head.
namespace portable {
Kernel forward_items, backward_items, weights_items;
}
namespace avx2 {
Kernel forward_items, backward_items, weights_items;
}
namespace avx512 {
Kernel forward_items, backward_items, weights_items;
}

/// At least `bytes` of memory that belongs to the calling thread, 64-byte aligned, until its next call.
void* thread_scratch(std::int64_t bytes);

}  // namespace rapt::attention
