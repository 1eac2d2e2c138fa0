/// Forward pass: exact attention by tiles of keys with a running row maximum (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).
#include "attention/blocks.h"
#include "attention/dropout_mask.h"

namespace rapt::attention::RAPT_ISA {
namespace {

constexpr long most_keys = 512;

template <typename S>
struct Buffers {
  long rows, keys, d_key, d_value;
  bool dropout;
  long ld_keys, ld_query, ld_value;

  S* keys_transposed;  ///< [d_key, keys] of the tile
  S* values;           ///< [keys, d_value] of the tile
  S* queries;          ///< [block_rows, d_key]
  S* scores;           ///< [block_rows, keys]: scaled products, then weights
  S* sums;             ///< [rows, d_value]: weighted values so far
  S* row_max;          ///< [rows]
  S* row_sum;          ///< [rows]
  DropoutMask mask;

  Buffers(const Call& call, const Item& item)
      : rows(rows_of(item)),
        keys(at_most(tile_keys(call, most_keys), item.key_count)),
        d_key(call.d_key),
        d_value(call.d_value),
        dropout(call.drop_below > 0),
        ld_keys(leading<S>(keys)),
        ld_query(leading<S>(d_key)),
        ld_value(leading<S>(d_value)) {}

  void carve(Carver& carver) {
    keys_transposed = carver.take<S>(d_key * ld_keys);
    values = carver.take<S>(keys * ld_value);
    queries = carver.take<S>(block_rows * ld_query);
    scores = carver.take<S>(block_rows * ld_keys);
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

/// Rows [row, row + rows) of the item against the packed tile of keys that begins at `first_key`.
template <typename T, typename S>
void block(const Call& call, const Item& item, Buffers<S>& b, long row, long rows, long first_key, long keys) {
  const auto seen_by = [&](long r) {
    return at_most(visible_keys(call, item, row_of(item, row + r).query) - first_key, keys);
  };
  // Visibility grows from row to row: the last one says how much of the tile there is to compute.
  const long seen = seen_by(rows - 1);
  if (seen <= 0) return;
  for (long r = 0; r < rows; ++r) {
    const Row at = row_of(item, row + r);
    pack_row(element<const T>(call.q, at.token, at.head, call.d_key), call.d_key, b.queries + r * b.ld_query);
  }
  multiply<false>(rows, Product<S>{.a = b.queries,
                                   .lda = b.ld_query,
                                   .b = b.keys_transposed,
                                   .ldb = b.ld_keys,
                                   .c = b.scores,
                                   .ldc = b.ld_keys,
                                   .depth = call.d_key,
                                   .columns = seen});
  if (b.dropout) b.mask.draw(call, item, row, rows, first_key, seen);
  for (long r = 0; r < rows; ++r) {
    S* scores = b.scores + r * b.ld_keys;
    advance_row(call, b, row + r, scores, at_least(seen_by(r), 0), seen);
    if (b.dropout) drop(call, b.mask, r, seen, scores);
  }
  multiply<false>(rows, Product<S>{.a = b.scores,
                                   .lda = b.ld_keys,
                                   .b = b.values,
                                   .ldb = b.ld_value,
                                   .c = b.sums + row * b.ld_value,
                                   .ldc = b.ld_value,
                                   .depth = seen,
                                   .columns = call.d_value,
                                   .accumulate = true});
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

  const long end = visible_keys(call, item, item.first_query + item.queries - 1);
  for (long first_key = 0; first_key < end; first_key += b.keys) {
    const long keys = at_most(b.keys, end - first_key);
    const long token = item.key_begin + first_key;
    pack_transposed(element<const T>(call.k, token, item.kv_head, call.d_key), call.k.stride, keys, call.d_key,
                    b.keys_transposed, b.ld_keys);
    pack(element<const T>(call.v, token, item.kv_head, call.d_value), call.v.stride, keys, call.d_value, b.values,
         b.ld_value);
    for (long row = 0; row < b.rows; row += block_rows) {
      block<T>(call, item, b, row, at_most(block_rows, b.rows - row), first_key, keys);
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
