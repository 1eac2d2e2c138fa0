/// Forward pass: exact attention by tiles of keys with a running row maximum (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).
#include "attention/blocks.h"
#include "attention/dropout_mask.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// Keys between two updates of the running maximum.
constexpr long tile_keys = 512;
/// Keys packed at a time, so that what is packed stays in the first-level cache. Weighted values are summed up by
/// chunks. Both are fixed: a query's result depends on its own keys only, and decoding gives the bits of the full pass.
constexpr long chunk_keys = 64;

template <typename S>
struct Buffers {
  long rows, keys, d_key, d_value;
  bool dropout;
  long ld_keys, ld_chunk, ld_query, ld_value;

  S* queries;          ///< [rows, d_key]
  S* keys_transposed;  ///< [d_key, chunk_keys]
  S* values;           ///< [chunk_keys, d_value]
  S* scores;           ///< [rows, keys] of the tile: products, then weights
  S* sums;             ///< [rows, d_value]: weighted values so far
  S* row_max;          ///< [rows]
  S* row_sum;          ///< [rows]
  DropoutMask mask;

  Buffers(const Call& call, const Item& item)
      : rows(rows_of(item)),
        keys(at_most(tile_keys, item.key_count)),
        d_key(call.d_key),
        d_value(call.d_value),
        dropout(call.drop_below > 0),
        ld_keys(leading<S>(keys)),
        ld_chunk(leading<S>(at_most(chunk_keys, keys))),
        ld_query(leading<S>(d_key)),
        ld_value(leading<S>(d_value)) {}

  void carve(Carver& carver) {
    queries = carver.take<S>(rows * ld_query);
    keys_transposed = carver.take<S>(d_key * ld_chunk);
    values = carver.take<S>(at_most(chunk_keys, keys) * ld_value);
    scores = carver.take<S>(rows * ld_keys);
    sums = carver.take<S>(rows * ld_value);
    row_max = carver.take<S>(rows);
    row_sum = carver.take<S>(rows);
    if (dropout) mask.carve(carver, block_rows, keys);
  }
};

/// Scales the first `seen` scores and returns their maximum; -inf when there are none.
template <typename S>
RAPT_INLINE S scaled_maximum(const S* scores, long seen, S scale) {
  constexpr int width = Simd<S>::width;
  const Vector<S> nothing = broadcast(static_cast<S>(-__builtin_inf()));
  Vector<S> result = nothing;
  long j = 0;
  for (; j + width <= seen; j += width) result = max(load(scores + j) * scale, result);
  if (j < seen) result = max(lanes_below<S>(seen - j) ? load(scores + j) * scale : nothing, result);
  return maximum_of_lanes<S>(result);
}

/// scores[j] = exp(scale * scores[j] - shift) for j < seen, 0 from there to `end`. Returns the sum.
template <typename S>
RAPT_INLINE S exponentials(S* scores, long seen, long end, S scale, S shift) {
  constexpr int width = Simd<S>::width;
  Vector<S> total = {};
  long j = 0;
  for (; j + width <= seen; j += width) {
    const Vector<S> p = exp(load(scores + j) * scale - shift);
    total += p;
    store(p, scores + j);
  }
  if (j < seen) {
    const Vector<S> p = lanes_below<S>(seen - j) ? exp(load(scores + j) * scale - shift) : Vector<S>{};
    total += p;
    store(p, scores + j);
    j += width;
  }
  for (; j < end; j += width) store(Vector<S>{}, scores + j);
  return sum_of_lanes<S>(total);
}

template <typename S>
RAPT_INLINE void drop(const Call& call, const DropoutMask& mask, long row, long end, S* scores) {
  for (long j = 0; j < end; j += Simd<S>::width) {
    store(mask.kept<S>(call, row, j) ? load(scores + j) : Vector<S>{}, scores + j);
  }
}

template <typename S>
RAPT_INLINE void scale_row(S* row, S factor, long d) {
  for (long i = 0; i < d; i += Simd<S>::width) store(load(row + i) * factor, row + i);
}

/// Turns the scores of one row into weights relative to its running maximum, and brings what was summed up so far under
/// the old maximum to the new one.
template <typename S>
RAPT_INLINE void advance_row(const Call& call, const Buffers<S>& b, long row, S* scores, long seen, long end) {
  const S scale = static_cast<S>(call.scale);
  const S old_max = b.row_max[row];
  const S tile_max = scaled_maximum(scores, seen, scale);
  const S new_max = tile_max > old_max ? tile_max : old_max;
  const S none = static_cast<S>(-__builtin_inf());
  // Where every score is -inf there is no maximum to subtract, and the weights come out as zeros.
  const S shift = new_max == none ? S(0) : new_max;
  if (new_max > old_max && old_max != none) {
    const S factor = exp(broadcast(old_max - shift))[0];
    b.row_sum[row] *= factor;
    scale_row(b.sums + row * b.ld_value, factor, b.d_value);
  }
  b.row_max[row] = new_max;
  b.row_sum[row] += exponentials(scores, seen, end, scale, shift);
}

/// The products of all rows with the keys [first_key, first_key + keys), which lie at column `column` of the tile.
template <typename T, typename S>
void score_chunk(const Call& call, const Item& item, const Buffers<S>& b, long first_key, long keys, long column) {
  pack_transposed(element<const T>(call.k, item.key_begin + first_key, item.kv_head, call.d_key), call.k.stride, keys,
                  call.d_key, b.keys_transposed, b.ld_chunk);
  for_blocks(b.rows, [&](long row, long rows) {
    // Visibility never shrinks from row to row: the last one says how much there is to compute.
    const long seen = seen_keys(call, item, row + rows - 1, first_key, keys);
    if (seen == 0) return;
    multiply<false>(rows, Product<S>{.a = b.queries + row * b.ld_query,
                                     .lda = b.ld_query,
                                     .b = b.keys_transposed,
                                     .ldb = b.ld_chunk,
                                     .c = b.scores + row * b.ld_keys + column,
                                     .ldc = b.ld_keys,
                                     .depth = call.d_key,
                                     .columns = seen});
  });
}

/// From scores to weights, for all rows of the tile.
template <typename S>
void softmax(const Call& call, const Item& item, Buffers<S>& b, long first_key, long keys) {
  for_blocks(b.rows, [&](long row, long rows) {
    const long end = seen_keys(call, item, row + rows - 1, first_key, keys);
    if (end == 0) return;
    if (b.dropout) b.mask.draw(call, item, row, rows, first_key, end);
    for (long r = 0; r < rows; ++r) {
      S* scores = b.scores + (row + r) * b.ld_keys;
      advance_row(call, b, row + r, scores, seen_keys(call, item, row + r, first_key, keys), end);
      if (b.dropout) drop(call, b.mask, r, end, scores);
    }
  });
}

/// Adds the weighted values of the keys [first_key, first_key + keys), which lie at column `column` of the tile.
template <typename T, typename S>
void add_chunk(const Call& call, const Item& item, const Buffers<S>& b, long first_key, long keys, long column) {
  pack(element<const T>(call.v, item.key_begin + first_key, item.kv_head, call.d_value), call.v.stride, keys,
       call.d_value, b.values, b.ld_value);
  for_blocks(b.rows, [&](long row, long rows) {
    const long seen = seen_keys(call, item, row + rows - 1, first_key, keys);
    if (seen == 0) return;
    multiply<false>(rows, Product<S>{.a = b.scores + row * b.ld_keys + column,
                                     .lda = b.ld_keys,
                                     .b = b.values,
                                     .ldb = b.ld_value,
                                     .c = b.sums + row * b.ld_value,
                                     .ldc = b.ld_value,
                                     .depth = seen,
                                     .columns = call.d_value,
                                     .accumulate = true});
  });
}

template <typename T, typename S>
void finish(const Call& call, const Item& item, const Buffers<S>& b) {
  for (long row = 0; row < b.rows; ++row) {
    const Row at = row_of(item, row);
    const S sum = b.row_sum[row];
    const bool empty = sum == 0;
    const S factor = empty ? S(0) : static_cast<S>(call.keep_scale) / sum;
    unpack_row(b.sums + row * b.ld_value, factor, call.d_value, element<T>(call.out, at.token, at.head, call.d_value));
    if (call.log_sum_exp != nullptr) {
      static_cast<S*>(call.log_sum_exp)[at.token * call.heads + at.head] =
          empty ? static_cast<S>(-__builtin_inf())
                : b.row_max[row] + static_cast<S>(__builtin_log(static_cast<double>(sum)));
    }
  }
}

template <typename T>
void forward(const Call& call, const Item& item) {
  using S = typename Simd<T>::Scalar;
  Buffers<S> b(call, item);
  allocate(b);
  clear(b.sums, b.rows * b.ld_value);
  clear(b.row_sum, b.rows);
  for (long row = 0; row < b.rows; ++row) b.row_max[row] = static_cast<S>(-__builtin_inf());

  pack_queries<T>(call.q, item, 0, b.rows, call.d_key, b.queries, b.ld_query);
  const long end = seen_keys(call, item, b.rows - 1, 0, item.key_count);
  for (long tile = 0; tile < end; tile += tile_keys) {
    const long keys = at_most(tile_keys, end - tile);
    for (long j = 0; j < keys; j += chunk_keys) {
      score_chunk<T>(call, item, b, tile + j, at_most(chunk_keys, keys - j), j);
    }
    softmax(call, item, b, tile, keys);
    for (long j = 0; j < keys; j += chunk_keys) {
      add_chunk<T>(call, item, b, tile + j, at_most(chunk_keys, keys - j), j);
    }
  }
  finish<T>(call, item, b);
}

template <typename T>
RAPT_INLINE void prefetch_item(const Call& call, const Item& item) {
  prefetch_keys<T>(call.k, item, call.d_key);
  prefetch_keys<T>(call.v, item, call.d_value);
  prefetch_queries<T>(call.q, item, call.d_key);
  prefetch_queries<T, 1>(call.out, item, call.d_value);
}

}  // namespace

void forward_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) {
      if (i + 1 < count) prefetch_item<decltype(type)>(call, items[i + 1]);
      forward<decltype(type)>(call, items[i]);
    }
  });
}

}  // namespace rapt::attention::RAPT_ISA
