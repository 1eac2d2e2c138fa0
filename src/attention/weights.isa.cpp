/// The attention weights themselves, from the log-sum-exp of a forward pass.
#include "attention/blocks.h"

namespace rapt::attention::RAPT_ISA {
namespace {

constexpr long most_keys = 512;

template <typename S>
struct Buffers {
  long keys, d_key;
  long ld_keys, ld_query;

  S* keys_transposed;  ///< [d_key, keys] of the tile
  S* queries;          ///< [block_rows, d_key]
  S* scores;           ///< [block_rows, keys]

  Buffers(const Call& call, const Item& item)
      : keys(at_most(tile_keys(call, most_keys), item.key_count)),
        d_key(call.d_key),
        ld_keys(leading<S>(keys)),
        ld_query(leading<S>(d_key)) {}

  void carve(Carver& carver) {
    keys_transposed = carver.take<S>(d_key * ld_keys);
    queries = carver.take<S>(block_rows * ld_query);
    scores = carver.take<S>(block_rows * ld_keys);
  }
};

/// result[j] = exp(scale * scores[j] - log_sum_exp) for j < seen.
template <typename S>
RAPT_INLINE void write_weights(S* scores, long seen, S scale, S log_sum_exp, float* result) {
  // A row without any finite score has no weights.
  const S shift = log_sum_exp == static_cast<S>(-__builtin_inf()) ? -log_sum_exp : log_sum_exp;
  for (long j = 0; j < seen; j += Simd<S>::width) store(exp(load(scores + j) * scale - shift), scores + j);
  for (long j = 0; j < seen; ++j) result[j] = static_cast<float>(scores[j]);
}

template <typename T>
void weights(const Call& call, const Item& item) {
  using S = typename Simd<T>::Scalar;
  Buffers<S> b(call, item);
  allocate(b);
  const long rows = rows_of(item);
  clear(call.weights + item.first_query * static_cast<long>(item.key_count), rows * item.key_count);
  const long end = visible_keys(call, item, item.first_query + item.queries - 1);
  for (long first_key = 0; first_key < end; first_key += b.keys) {
    const long keys = at_most(b.keys, end - first_key);
    pack_transposed(element<const T>(call.k, item.key_begin + first_key, item.kv_head, call.d_key), call.k.stride, keys,
                    call.d_key, b.keys_transposed, b.ld_keys);
    for (long row = 0; row < rows; row += block_rows) {
      const long count = at_most(block_rows, rows - row);
      for (long r = 0; r < count; ++r) {
        const Row at = row_of(item, row + r);
        pack_row(element<const T>(call.q, at.token, at.head, call.d_key), call.d_key, b.queries + r * b.ld_query);
      }
      multiply<false>(count, Product<S>{.a = b.queries,
                                        .lda = b.ld_query,
                                        .b = b.keys_transposed,
                                        .ldb = b.ld_keys,
                                        .c = b.scores,
                                        .ldc = b.ld_keys,
                                        .depth = call.d_key,
                                        .columns = keys});
      for (long r = 0; r < count; ++r) {
        const Row at = row_of(item, row + r);
        write_weights(b.scores + r * b.ld_keys, at_most(visible_keys(call, item, at.query) - first_key, keys),
                      static_cast<S>(call.scale),
                      static_cast<const S*>(call.log_sum_exp)[at.token * call.heads + at.head],
                      call.weights + at.query * item.key_count + first_key);
      }
    }
  }
}

}  // namespace

void weights_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) weights<decltype(type)>(call, items[i]);
  });
}

}  // namespace rapt::attention::RAPT_ISA
