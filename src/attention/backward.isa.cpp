/// Backward pass: weights are rebuilt from the log-sum-exp of the forward pass tile by tile (Dao et al.,
/// "FlashAttention", 2022, algorithm 4). With P the weights, D dropout's mask over its kept fraction and s the scale:
///   dV = (P D)^T dO,  dP = (dO V^T) D,  dS = s P (dP - rowsum(dO O)),  dQ = dS K,  dK = dS^T Q.
#include "attention/blocks.h"
#include "attention/dropout_mask.h"

namespace rapt::attention::RAPT_ISA {
namespace {

constexpr long tile_keys = 128;
constexpr long tile_rows = 64;

template <typename S>
struct Buffers {
  long all_rows, rows, keys, d_key, d_value;
  bool dropout;
  long ld_keys, ld_query, ld_value;

  // Of the tile of keys.
  S* keys_transposed;    ///< [d_key, keys]
  S* keys_packed;        ///< [keys, d_key]
  S* values_transposed;  ///< [d_value, keys]
  S* d_keys;             ///< [keys, d_key]
  S* d_values;           ///< [keys, d_value]
  // Of the tile of rows.
  S* queries;   ///< [rows, d_key]
  S* d_out;     ///< [rows, d_value]
  S* weights;   ///< [rows, keys]: scaled products, then P D
  S* d_scores;  ///< [rows, keys]: dP, then dS
  // Of the whole sequence: linear in its length.
  S* d_queries;  ///< [all_rows, d_key]
  S* delta;      ///< [all_rows]: rowsum(dO O)
  DropoutMask mask;

  Buffers(const Call& call, const Item& item)
      : all_rows(rows_of(item)),
        // At least one, for a sequence without queries is walked in tiles too.
        rows(at_least(1, at_most(all_rows, at_least(1, tile_rows / item.heads) * item.heads))),
        keys(at_most(tile_keys, item.key_count)),
        d_key(call.d_key),
        d_value(call.d_value),
        dropout(call.drop_below > 0),
        ld_keys(leading<S>(keys)),
        ld_query(leading<S>(d_key)),
        ld_value(leading<S>(d_value)) {}

  void carve(Carver& carver) {
    keys_transposed = carver.take<S>(d_key * ld_keys);
    keys_packed = carver.take<S>(keys * ld_query);
    values_transposed = carver.take<S>(d_value * ld_keys);
    d_keys = carver.take<S>(keys * ld_query);
    d_values = carver.take<S>(keys * ld_value);
    queries = carver.take<S>(rows * ld_query);
    d_out = carver.take<S>(rows * ld_value);
    weights = carver.take<S>(rows * ld_keys);
    d_scores = carver.take<S>(rows * ld_keys);
    d_queries = carver.take<S>(all_rows * ld_query);
    delta = carver.take<S>(all_rows);
    if (dropout) mask.carve(carver, block_rows, keys);
  }
};

/// A tile of keys and a tile of rows.
struct Tile {
  long first_key, keys;
  long first_row, rows;
};

template <typename T, typename S>
RAPT_INLINE S row_product(const T* a, const T* b, long d) {
  Vector<S> total = {};
  for (long i = 0; i < d; i += Simd<S>::width) total += load_at_most(a + i, d - i) * load_at_most(b + i, d - i);
  return sum_of_lanes<S>(total);
}

/// From scores and dP of one row to P D and dS; zeros from `seen` to `end`.
template <typename S>
RAPT_INLINE void differentiate_row(const Call& call, const Buffers<S>& b, long block_row, long seen, long end,
                                   S log_sum_exp, S delta, S* weights, S* d_scores) {
  constexpr int width = Simd<S>::width;
  const S scale = static_cast<S>(call.scale);
  const S keep_scale = static_cast<S>(call.keep_scale);
  long j = 0;
  for (; j < seen; j += width) {
    Vector<S> p = exp(load(weights + j) * scale - log_sum_exp);
    if (seen - j < width) p = lanes_below<S>(seen - j) ? p : Vector<S>{};
    Vector<S> kept = p;
    Vector<S> d_weight = load(d_scores + j);
    if (b.dropout) {
      const Mask<S> mask = b.mask.template kept<S>(call, block_row, j);
      kept = mask ? p * keep_scale : Vector<S>{};
      d_weight = mask ? d_weight * keep_scale : Vector<S>{};
    }
    store(kept, weights + j);
    store(p * (d_weight - delta) * scale, d_scores + j);
  }
  for (; j < end; j += width) {
    store(Vector<S>{}, weights + j);
    store(Vector<S>{}, d_scores + j);
  }
}

/// P D, dS and the tile's part of dQ, for rows [row, row + rows) of the tile.
template <typename S>
void block(const Call& call, const Item& item, Buffers<S>& b, const Tile& tile, long row, long rows) {
  const long seen = seen_keys(call, item, tile.first_row + row + rows - 1, tile.first_key, tile.keys);
  if (seen == 0) return;
  S* weights = b.weights + row * b.ld_keys;
  S* d_scores = b.d_scores + row * b.ld_keys;
  multiply<false>(rows, Product<S>{.a = b.queries + row * b.ld_query,
                                   .lda = b.ld_query,
                                   .b = b.keys_transposed,
                                   .ldb = b.ld_keys,
                                   .c = weights,
                                   .ldc = b.ld_keys,
                                   .depth = call.d_key,
                                   .columns = seen});
  multiply<false>(rows, Product<S>{.a = b.d_out + row * b.ld_value,
                                   .lda = b.ld_value,
                                   .b = b.values_transposed,
                                   .ldb = b.ld_keys,
                                   .c = d_scores,
                                   .ldc = b.ld_keys,
                                   .depth = call.d_value,
                                   .columns = seen});
  if (b.dropout) b.mask.draw(call, item, tile.first_row + row, rows, tile.first_key, seen);
  // Blocks of keys reach up to block_unit over the last visible key.
  const long end = round_up(seen, block_unit);
  for (long r = 0; r < rows; ++r) {
    const long item_row = tile.first_row + row + r;
    differentiate_row(call, b, r, seen_keys(call, item, item_row, tile.first_key, tile.keys), end,
                      log_sum_exp_of<S>(call, row_of(item, item_row)), b.delta[item_row], weights + r * b.ld_keys,
                      d_scores + r * b.ld_keys);
  }
  multiply<false>(rows, Product<S>{.a = d_scores,
                                   .lda = b.ld_keys,
                                   .b = b.keys_packed,
                                   .ldb = b.ld_query,
                                   .c = b.d_queries + (tile.first_row + row) * b.ld_query,
                                   .ldc = b.ld_query,
                                   .depth = seen,
                                   .columns = call.d_key,
                                   .accumulate = true});
}

/// First row of the tile that sees key `key` of the sequence.
RAPT_INLINE long first_seeing(const Call& call, const Item& item, const Tile& tile, long key) {
  if (!call.causal) return 0;
  const long query = key - item.key_count + item.query_count;
  return at_most(at_least(query * item.heads - tile.first_row, 0), tile.rows);
}

/// Adds the tile's part of dK and dV.
template <typename S>
void add_key_gradients(const Call& call, const Item& item, const Buffers<S>& b, const Tile& tile) {
  for (long key = 0; key < tile.keys; key += block_rows) {
    const long keys = at_most(block_rows, tile.keys - key);
    const long row = first_seeing(call, item, tile, tile.first_key + key);
    if (row == tile.rows) return;
    multiply<true>(keys, Product<S>{.a = b.weights + row * b.ld_keys + key,
                                    .lda = b.ld_keys,
                                    .b = b.d_out + row * b.ld_value,
                                    .ldb = b.ld_value,
                                    .c = b.d_values + key * b.ld_value,
                                    .ldc = b.ld_value,
                                    .depth = tile.rows - row,
                                    .columns = call.d_value,
                                    .accumulate = true});
    multiply<true>(keys, Product<S>{.a = b.d_scores + row * b.ld_keys + key,
                                    .lda = b.ld_keys,
                                    .b = b.queries + row * b.ld_query,
                                    .ldb = b.ld_query,
                                    .c = b.d_keys + key * b.ld_query,
                                    .ldc = b.ld_query,
                                    .depth = tile.rows - row,
                                    .columns = call.d_key,
                                    .accumulate = true});
  }
}

template <typename T, typename S>
void row_tile(const Call& call, const Item& item, Buffers<S>& b, const Tile& tile) {
  pack_queries<T>(call.q, item, tile.first_row, tile.rows, call.d_key, b.queries, b.ld_query);
  pack_queries<T>(call.d_out, item, tile.first_row, tile.rows, call.d_value, b.d_out, b.ld_value);
  for_blocks(tile.rows, [&](long row, long rows) { block(call, item, b, tile, row, rows); });
  add_key_gradients(call, item, b, tile);
}

template <typename T, typename S>
void key_tile(const Call& call, const Item& item, Buffers<S>& b, long first_key, long keys) {
  const long token = item.key_begin + first_key;
  const T* k = element<const T>(call.k, token, item.kv_head, call.d_key);
  const T* v = element<const T>(call.v, token, item.kv_head, call.d_value);
  pack_transposed(k, call.k.stride, keys, call.d_key, b.keys_transposed, b.ld_keys);
  pack_transposed(v, call.v.stride, keys, call.d_value, b.values_transposed, b.ld_keys);
  pack(k, call.k.stride, keys, call.d_key, b.keys_packed, b.ld_query);
  clear(b.d_keys, keys * b.ld_query);
  clear(b.d_values, keys * b.ld_value);
  // Rows before the first that sees anything of the tile have no part in it; rows of tiles begin at fixed places.
  const Tile all{first_key, keys, 0, b.all_rows};
  for (long row = first_seeing(call, item, all, first_key) / b.rows * b.rows; row < b.all_rows; row += b.rows) {
    row_tile<T>(call, item, b, Tile{first_key, keys, row, at_most(b.rows, b.all_rows - row)});
  }
  for (long j = 0; j < keys; ++j) {
    unpack_row(b.d_keys + j * b.ld_query, S(1), call.d_key, element<T>(call.dk, token + j, item.kv_head, call.d_key));
    unpack_row(b.d_values + j * b.ld_value, S(1), call.d_value,
               element<T>(call.dv, token + j, item.kv_head, call.d_value));
  }
}

template <typename T>
void backward(const Call& call, const Item& item) {
  using S = typename Simd<T>::Scalar;
  Buffers<S> b(call, item);
  allocate(b);
  clear(b.d_queries, b.all_rows * b.ld_query);
  for (long row = 0; row < b.all_rows; ++row) {
    const Row at = row_of(item, row);
    b.delta[row] = row_product<T, S>(element<const T>(call.out, at.token, at.head, call.d_value),
                                     element<const T>(call.d_out, at.token, at.head, call.d_value), call.d_value);
  }
  for (long first_key = 0; first_key < item.key_count; first_key += b.keys) {
    key_tile<T>(call, item, b, first_key, at_most(b.keys, item.key_count - first_key));
  }
  for (long row = 0; row < b.all_rows; ++row) {
    const Row at = row_of(item, row);
    unpack_row(b.d_queries + row * b.ld_query, S(1), call.d_key, element<T>(call.dq, at.token, at.head, call.d_key));
  }
}

template <typename T>
RAPT_INLINE void prefetch_item(const Call& call, const Item& item) {
  prefetch_queries<T>(call.out, item, call.d_value);
  prefetch_queries<T>(call.d_out, item, call.d_value);
  prefetch_keys<T>(call.k, item, call.d_key);
  prefetch_keys<T>(call.v, item, call.d_value);
  prefetch_queries<T>(call.q, item, call.d_key);
  prefetch_keys<T, 1>(call.dk, item, call.d_key);
  prefetch_keys<T, 1>(call.dv, item, call.d_value);
  prefetch_queries<T, 1>(call.dq, item, call.d_key);
}

}  // namespace

void backward_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) {
      if (i + 1 < count) prefetch_item<decltype(type)>(call, items[i + 1]);
      backward<decltype(type)>(call, items[i]);
    }
  });
}

}  // namespace rapt::attention::RAPT_ISA
