/// The attention weights themselves, from the log-sum-exp of a forward pass.
#include "attention/blocks.h"

namespace rapt::attention::RAPT_ISA {
namespace {

constexpr long chunk_keys = 64;

template <typename S>
struct Buffers {
  long keys, d_key;
  long ld_keys, ld_query;

  S* keys_transposed;  ///< [d_key, keys] of the chunk
  S* queries;          ///< [block_rows, d_key]
  S* scores;           ///< [block_rows, keys]

  Buffers(const Call& call, const Item& item)
      : keys(at_most(chunk_keys, item.key_count)),
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
RAPT_INLINE void write_weights(const Call& call, S* scores, long seen, S log_sum_exp, float* result) {
  const S scale = static_cast<S>(call.scale);
  for (long j = 0; j < seen; j += Simd<S>::width) store(exp(load(scores + j) * scale - log_sum_exp), scores + j);
  for (long j = 0; j < seen; ++j) result[j] = static_cast<float>(scores[j]);
}

/// The weights of the keys [first_key, first_key + keys).
template <typename T, typename S>
void write_chunk(const Call& call, const Item& item, const Buffers<S>& b, long first_key, long keys) {
  pack_transposed(element<const T>(call.k, item.key_begin + first_key, item.kv_head, call.d_key), call.k.stride, keys,
                  call.d_key, b.keys_transposed, b.ld_keys);
  for_blocks(rows_of(item), [&](long row, long rows) {
    pack_queries<T>(call.q, item, row, rows, call.d_key, b.queries, b.ld_query);
    multiply<false>(rows, Product<S>{.a = b.queries,
                                     .lda = b.ld_query,
                                     .b = b.keys_transposed,
                                     .ldb = b.ld_keys,
                                     .c = b.scores,
                                     .ldc = b.ld_keys,
                                     .depth = call.d_key,
                                     .columns = keys});
    for (long r = 0; r < rows; ++r) {
      write_weights(call, b.scores + r * b.ld_keys, seen_keys(call, item, row + r, first_key, keys),
                    log_sum_exp_of<S>(call, row_of(item, row + r)),
                    call.weights + row_of(item, row + r).query * item.key_count + first_key);
    }
  });
}

template <typename T>
void weights(const Call& call, const Item& item) {
  using S = typename Simd<T>::Scalar;
  Buffers<S> b(call, item);
  allocate(b);
  clear(call.weights + item.first_query * static_cast<long>(item.key_count), rows_of(item) * item.key_count);
  const long end = seen_keys(call, item, rows_of(item) - 1, 0, item.key_count);
  for (long j = 0; j < end; j += chunk_keys) write_chunk<T>(call, item, b, j, at_most(chunk_keys, end - j));
}

}  // namespace

void weights_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) weights<decltype(type)>(call, items[i]);
  });
}

}  // namespace rapt::attention::RAPT_ISA
