/// The weights that the linear forms imply, for a block of queries of one head.
#include "attention/linear_chunk.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// A block of queries at work: `chunk` holds its queries and, one chunk after the other, all keys.
template <typename S>
struct Work {
  const Call& call;
  const Item& item;
  Chunk chunk;
  Buffers<S> b;
  S* top;  ///< favor: [width], maxima over all keys that the block sees

  Work(const Call& c, const Item& i, Chunk at, Carver& carver) : call(c), item(i), chunk(at), b(c) {
    b.carve(carver, c, i);
    top = carver.take<S>(padded(c.width));
  }
};

/// Keys that query `i` of the block sees: the first so many.
template <typename S>
RAPT_INLINE long visible_keys(const Work<S>& w, long i) {
  if (!w.call.causal) return w.item.key_count;
  return at_least(0, long{w.item.key_count} - w.item.query_count + w.chunk.first_query + i + 1);
}

/// Calls function() for every chunk of keys that the last query of the block sees.
template <typename S, typename Function>
RAPT_INLINE void each_chunk(Work<S>& w, Function function) {
  const long end = visible_keys(w, w.chunk.queries - 1);
  for (long key = 0; key < end; key += chunk_tokens) {
    w.chunk.first_key = static_cast<std::int32_t>(key);
    w.chunk.keys = static_cast<std::int32_t>(at_most(chunk_tokens, end - key));
    function();
  }
}

template <typename S>
void load_favor(Work<S>& w) {
  fill(w.top, padded(w.call.width), -infinity<S>);
  each_chunk(w, [&] {
    load_keys(w.call, w.item, w.chunk, w.b, false);
    each_vector<S>(w.call.width, [&](long f) { store(max(load(w.b.top + f), load(w.top + f)), w.top + f); });
  });
  // Queries relative to these maxima, as if the keys were those of a state.
  w.chunk.keys = 0;
  combine_tops(w.chunk, w.top, w.b, 0, padded(w.call.width));
  load_queries(w.call, w.item, w.chunk, 0, w.b);
}

/// Features of the chunk's keys, of favor relative to w.top.
template <typename S>
void load_features(Work<S>& w) {
  load_keys(w.call, w.item, w.chunk, w.b, false);
  if (w.call.map != Map::favor) return;
  combine_tops(w.chunk, w.top, w.b, 0, padded(w.call.width));
  for (long f = 0; f < w.call.width; ++f) {
    S* row = w.b.keys_t + f * w.b.ld_chunk;
    scale_into(row, w.b.from_chunk[f], w.chunk.keys, row);
  }
}

/// Decay over `distance` keys.
template <typename S>
S decay_over(const Work<S>& w, long distance) {
  if (!w.call.decayed) return 1;
  const S* powers = decay_table<S>(w.call, w.item, 0) + DecayTable::powers;
  double result = static_cast<double>(powers[distance % chunk_tokens]);
  for (long i = 0; i < distance / chunk_tokens && result != 0; ++i) {
    result *= static_cast<double>(powers[chunk_tokens]);
  }
  return static_cast<S>(result);
}

/// The weights for the chunk's keys, not normalised yet.
template <typename S>
void weigh_chunk(Work<S>& w) {
  load_features(w);
  multiply(Product<S>{.a = w.call.map == Map::favor ? w.b.queries_before : w.b.queries,
                      .lda = w.b.ld_width,
                      .b = w.b.keys_t,
                      .ldb = w.b.ld_chunk,
                      .c = w.b.scores,
                      .ldc = w.b.ld_chunk,
                      .rows = w.chunk.queries,
                      .depth = w.call.width,
                      .columns = w.chunk.keys});
  const S* powers = decay_table<S>(w.call, w.item, 0) + DecayTable::powers;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long seen = at_least(0, at_most(visible_keys(w, i) - w.chunk.first_key, w.chunk.keys));
    float* weights = w.call.weights + (w.chunk.first_query + i) * long{w.item.key_count} + w.chunk.first_key;
    // From the last key seen here to the query, and to the other keys of the chunk.
    const S decay = decay_over(w, w.call.decayed ? visible_keys(w, i) - w.chunk.first_key - seen : 0);
    const S* scores = w.b.scores + i * w.b.ld_chunk;
    for (long j = 0; j < seen; ++j) {
      const S weight = scores[j] * decay * powers[seen - 1 - j];
      w.b.denominators[i] += weight;
      weights[j] = static_cast<float>(weight);
    }
  }
}

template <typename S>
void weigh(const Call& call, const Item& item, const Chunk& queries, void* memory) {
  Carver carver = carver_of(memory);
  Work<S> w(call, item, queries, carver);
  float* weights = call.weights + queries.first_query * long{item.key_count};
  clear(weights, long{queries.queries} * item.key_count);
  clear(w.b.denominators, queries.queries);
  if (call.map == Map::favor) {
    load_favor(w);
  } else {
    load_queries(call, item, w.chunk, 0, w.b);
  }
  each_chunk(w, [&] { weigh_chunk(w); });
  if (!call.normalised) return;
  invert(w.b.denominators, queries.queries);
  for (long i = 0; i < queries.queries; ++i) {
    const float factor = static_cast<float>(w.b.denominators[i]);
    for (long j = 0; j < item.key_count; ++j) weights[i * item.key_count + j] *= factor;
  }
}

}  // namespace

void weights(const Call& call, const Item& item, std::int32_t first_query, std::int32_t queries, void* memory) {
  with_scalar(call, [&](auto s) { weigh<decltype(s)>(call, item, {0, 0, first_query, queries, 0}, memory); });
}
std::int64_t bytes_of_weights(const Call& call, const Item& item) {
  Carver carver{0};
  with_scalar(call, [&](auto s) { Work<decltype(s)>(call, item, {}, carver); });
  return static_cast<std::int64_t>(carver.used);
}

}  // namespace rapt::attention::linear::RAPT_ISA
