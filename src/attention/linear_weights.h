/// Tiles of the weights that the linear forms imply. Included by linear_*.isa.cpp only, everything has internal linkage
/// (see kernels/simd.h).
#pragma once

#include "attention/linear_chunk.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// One tile at a time: up to chunk_tokens queries of the item's only head by as many keys. A weight's bits depend on
/// its query and on the chunk of keys, which begins at a multiple of chunk_tokens, alone.
template <typename S>
struct WeightTile {
  const Call& call;
  const Item& item;
  Chunk chunk{};
  Buffers<S> b;

  WeightTile(const Call& c, const Item& i) : call(c), item(i), b(c) {}
  void carve(Carver& carver) { b.carve(carver, call, item); }

  /// Keys that a query sees: the first so many.
  RAPT_INLINE long visible_keys(long query) const {
    if (!call.causal) return item.key_count;
    return at_least(0, at_most(item.key_count, long{item.key_count} - item.query_count + query + 1));
  }
  const S* weights(long i) const { return b.scores + i * b.ld_chunk; }

  /// Computes the weights, normalised by the log-sum-exp, with zeros where a key is not visible. Returns whether any
  /// is.
  bool move_to(long first_query, long queries, long first_key, long keys) {
    if (visible_keys(first_query + queries - 1) <= first_key) return false;
    load_tile({.first_key = static_cast<int32_t>(first_key),
               .keys = static_cast<int32_t>(keys),
               .first_query = static_cast<int32_t>(first_query),
               .queries = static_cast<int32_t>(queries),
               .diagonal = static_cast<int32_t>(visible_keys(first_query) - 1 - first_key)});
    multiply_scores(call, chunk, b);
    for (long i = 0; i < queries; ++i) weigh_row(i);
    return true;
  }

 private:
  void load_tile(const Chunk& next) {
    const bool favor = call.map == Map::favor;
    const bool other_keys = next.first_key != chunk.first_key || next.keys != chunk.keys;
    const bool other_queries = next.first_query != chunk.first_query || next.queries != chunk.queries;
    chunk = next;
    if (other_keys) load_keys(call, item, chunk, b, false);
    if (other_keys && favor) combine_tops<S>(chunk, nullptr, b, 0, padded(call.width));
    // Features of favor's queries are relative to the maxima of the keys.
    if (!other_queries && !(other_keys && favor)) return;
    load_queries(call, item, {.first_query = chunk.first_query, .queries = chunk.queries}, 0, b);
  }

  /// What the products of query i with the chunk's keys are multiplied by to be weights, but for decays in the chunk.
  S factor_of(long i, long visible, long seen) const {
    if (call.decayed) {
      // From the last key seen here to the query.
      const long distance = visible - chunk.first_key - seen;
      const long whole_chunks = distance / chunk_tokens;
      const S* powers = decay_table<S>(call, item, 0) + DecayTable::powers;
      return powers[distance % chunk_tokens] * static_cast<S>(__builtin_pow(static_cast<double>(powers[chunk_tokens]),
                                                                            static_cast<double>(whole_chunks)));
    }
    const S log_sum_exp = static_cast<const S*>(call.log_sum_exp)[row_index(call, item, chunk.first_query + i, 0)];
    if (log_sum_exp == -infinity<S>) return 0;
    const double missing =
        call.map == Map::favor ? missing_log(call, b.raw_queries + i * b.ld_key, b.query_tops[i]) : 0;
    // Large only where the keys that features are relative to are not visible.
    const double exponent = missing - static_cast<double>(log_sum_exp);
    return static_cast<S>(__builtin_exp(exponent < 80 ? exponent : 80.0));
  }

  void weigh_row(long i) {
    const long visible = visible_keys(chunk.first_query + i);
    const long seen = at_least(0, at_most(visible - chunk.first_key, chunk.keys));
    S* row = b.scores + i * b.ld_chunk;
    if (seen == 0) return clear(row, padded(chunk.keys));
    const S factor = factor_of(i, visible, seen);
    const S* decays = decay_table<S>(call, item, 0) + DecayTable::reversed + chunk_tokens - seen;
    // Products above the diagonal were not written.
    each_vector<S>(padded(chunk.keys), [&](long j) {
      store(keep_below<S>(load(row + j) * load(decays + j) * factor, at_least(0, seen - j)), row + j);
    });
  }
};

/// Calls function(S{}, call, item) for every item, with the type that the call computes with.
template <typename Function>
RAPT_INLINE void each_item(const attention::Call& call, const Item* items, std::int64_t count, Function function) {
  with_scalar(*call.linear, [&](auto s) {
    for (long i = 0; i < count; ++i) function(s, items[i]);
  });
}

}  // namespace
}  // namespace rapt::attention::linear::RAPT_ISA
