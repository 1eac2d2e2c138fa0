/// The linear forms token by token, on states in the layout of the caller: for decoding.
#include "attention/linear_delta.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// A state of the caller: rows without padding.
template <typename S>
struct Rows {
  S* sums;  ///< [width, d_value]
  S* norm;  ///< [width]
  S* top;   ///< [width]
};
template <typename S>
RAPT_INLINE Rows<S> rows_of(const Call& call, S* state, long index) {
  const long matrix = long{call.width} * call.d_value;
  S* sums = state + index * (matrix + (call.normalised ? call.width : 0) + (call.map == Map::favor ? call.width : 0));
  return {sums, sums + matrix, sums + matrix + call.width};
}

template <typename S>
struct Memory {
  S* raw;      ///< favor: [d_key]
  S* key;      ///< [width]
  S* query;    ///< [width]
  S* value;    ///< [d_value]
  S* out;      ///< [d_value]
  S* factors;  ///< favor: [width], what is left of the state
  S* exponents;
  S* query_top;  ///< favor: what exponents of the query are relative to

  Memory(Carver& carver, const Call& call)
      : raw(carver.take<S>(padded(call.d_key))),
        key(carver.take<S>(padded(call.width))),
        query(carver.take<S>(padded(call.width))),
        value(carver.take<S>(padded(call.d_value))),
        out(carver.take<S>(padded(call.d_value))),
        factors(carver.take<S>(padded(call.width))),
        exponents(carver.take<S>(padded(call.width))),
        query_top(carver.take<S>(1)) {}
};

/// One sequence and key-value head at work.
template <typename S>
struct Work {
  const Call& call;
  const Item& item;
  S* states;
  Memory<S> m;

  Work(const Call& c, const Item& i, S* s, Carver& carver) : call(c), item(i), states(s), m(carver, c) {}
};

// One row of the state at a time, by columns that fit into registers.

constexpr int most_vectors = 4;

/// Columns [column, column + columns) of: state = factors * state + key value^T; the sum of query times its rows goes
/// to out. `factors` null: `factor` for all rows.
template <int vectors, typename S>
RAPT_INLINE void update_columns(const Call& call, S* sums, long column, long columns, const S* factors, S factor,
                                const S* key, const S* value, const S* query, S* out) {
  constexpr int width = Simd<S>::width;
  const long ld = call.d_value;
  const long last = columns - (vectors - 1) * width;
  Vector<S> values[vectors], total[vectors] = {};
#pragma GCC unroll 4
  for (int i = 0; i < vectors; ++i) values[i] = load(value + column + i * width);
  for (long f = 0; f < call.width; ++f) {
    S* row = sums + f * ld + column;
    const S kept = factors == nullptr ? factor : factors[f];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      const bool whole = i + 1 < vectors;
      const Vector<S> old = whole ? load(row + i * width) : load_at_most(row + i * width, last);
      const Vector<S> x = old * kept + values[i] * key[f];
      if (whole) {
        store(x, row + i * width);
      } else {
        store_at_most(x, row + i * width, last);
      }
      total[i] += x * query[f];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < vectors; ++i) store(total[i], out + column + i * width);
}

/// The sum of query times the rows of the state, for such columns.
template <int vectors, typename S>
RAPT_INLINE void read_columns(const Call& call, const S* sums, long column, long columns, const S* query, S* out) {
  constexpr int width = Simd<S>::width;
  const long ld = call.d_value;
  const long last = columns - (vectors - 1) * width;
  Vector<S> total[vectors] = {};
  for (long f = 0; f < call.width; ++f) {
    const S* row = sums + f * ld + column;
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      total[i] += (i + 1 < vectors ? load(row + i * width) : load_at_most(row + i * width, last)) * query[f];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < vectors; ++i) store(total[i], out + column + i * width);
}

/// Calls function(vectors as a constant, column, columns) for all columns of the state.
template <int n>
struct Count {
  static constexpr int value = n;
};
template <typename S, typename Function>
RAPT_INLINE void each_columns(long d_value, Function function) {
  constexpr long width = Simd<S>::width;
  long column = 0;
  for (; column + most_vectors * width <= d_value; column += most_vectors * width) {
    function(Count<most_vectors>{}, column, most_vectors * width);
  }
  for (; column < d_value; column += width) function(Count<1>{}, column, at_most(width, d_value - column));
}

template <typename S>
void update(const Call& call, S* sums, const S* factors, S factor, const S* key, const S* value, const S* query,
            S* out) {
  each_columns<S>(call.d_value, [&](auto vectors, long column, long columns) {
    update_columns<decltype(vectors)::value>(call, sums, column, columns, factors, factor, key, value, query, out);
  });
}
template <typename S>
void read(const Call& call, const S* sums, const S* query, S* out) {
  each_columns<S>(call.d_value, [&](auto vectors, long column, long columns) {
    read_columns<decltype(vectors)::value>(call, sums, column, columns, query, out);
  });
}

/// The sum of products of a padded row and one of the caller.
template <typename S>
RAPT_INLINE S dot_unpadded(const S* padded_row, const S* row, long count) {
  Vector<S> total = {};
  each_vector<S>(count, [&](long i) { total += load(padded_row + i) * load_at_most(row + i, count - i); });
  return sum(total);
}

// Keys and queries.

template <typename S>
void load_projection(const Work<S>& w, const Stored& source, double scale, S* result) {
  load_rows(source, 1, w.call.d_key, static_cast<S>(scale), w.m.raw, 0);
  project<S>(w.call, {w.m.raw, 0}, 1, {result, 0});
}

/// The features of a key of favor relative to maxima that count it in, and what is left of the state under them.
template <typename S>
void load_favor_key(const Work<S>& w, const Stored& source, const Rows<S>& state) {
  load_projection(w, source, w.call.key_scale, w.m.exponents);
  const S half_square = dot(w.m.raw, w.m.raw, w.call.d_key) / 2;
  const Vector<S> none = minus_infinity<S>();
  each_vector<S>(w.call.width, [&](long f) {
    const long count = w.call.width - f;
    const Vector<S> norm = load_at_most(state.norm + f, count);
    const Vector<S> old_top = norm == Vector<S>{} ? none : load_at_most(state.top + f, count);
    const Vector<S> exponent = load(w.m.exponents + f) - half_square;
    const Vector<S> top = max(exponent, old_top);
    store_at_most(top, state.top + f, count);
    store(keep_below<S>(exponential(exponent - top), count), w.m.key + f);
    store(exponential(old_top - top), w.m.factors + f);
  });
}

template <typename S>
void load_key(const Work<S>& w, std::int32_t key, const Rows<S>& state) {
  const Chunk at{key, 1, 0, 0, 0};
  const Stored source = key_rows(w.call, w.item, at, w.call.k, w.call.d_key);
  load_rows(key_rows(w.call, w.item, at, w.call.v, w.call.d_value), 1, w.call.d_value, S(1), w.m.value, 0);
  if (w.call.map == Map::favor) return load_favor_key(w, source, state);
  load_rows(source, 1, w.call.d_key, static_cast<S>(w.call.key_scale), w.m.key, 0);
  if (w.call.map != Map::none) map_rows(w.call.map, w.m.key, 0, 1, w.call.width);
}

/// value = beta (value - alpha S^T key); returns alpha.
template <typename S>
S load_news(const Work<S>& w, std::int32_t key, const Rows<S>& state) {
  const Chunk at{key, 1, 0, 0, 0};
  S alpha, beta;
  load_gates(w.item, at, w.call.alpha, &alpha);
  load_gates(w.item, at, w.call.beta, &beta);
  read(w.call, state.sums, w.m.key, w.m.out);
  each_vector<S>(w.call.d_value,
                 [&](long i) { store((load(w.m.value + i) - load(w.m.out + i) * alpha) * beta, w.m.value + i); });
  return alpha;
}

template <typename S>
void load_query(const Work<S>& w, std::int32_t query, long head, const Rows<S>& state) {
  const Chunk at{0, 0, query, 1, 0};
  const Stored source = query_rows(w.call, w.item, at, w.call.q, head, w.call.d_key);
  if (w.call.map != Map::favor) {
    load_rows(source, 1, w.call.d_key, static_cast<S>(w.call.query_scale), w.m.query, 0);
    if (w.call.map != Map::none) map_rows(w.call.map, w.m.query, 0, 1, w.call.width);
    return;
  }
  load_projection(w, source, w.call.query_scale, w.m.query);
  const Vector<S> none = minus_infinity<S>();
  Vector<S> highest = none;
  each_vector<S>(w.call.width, [&](long f) {
    const long count = w.call.width - f;
    const Vector<S> norm = load_at_most(state.norm + f, count);
    const Vector<S> top = norm == Vector<S>{} ? none : load_at_most(state.top + f, count);
    const Vector<S> x = load(w.m.query + f) + top;
    store(x, w.m.query + f);
    highest = max(x, highest);
  });
  const S maximum_of_row = maximum(highest);
  const S shift = maximum_of_row == -infinity<S> ? S(0) : maximum_of_row;
  *w.m.query_top = shift;
  each_vector<S>(w.call.width, [&](long f) { store(exponential(load(w.m.query + f) - shift), w.m.query + f); });
}

template <typename S>
void store_out(const Work<S>& w, std::int32_t query, long head, const Rows<S>& state) {
  S denominator = 1;
  if (w.call.normalised) {
    denominator = dot_unpadded(w.m.query, state.norm, w.call.width);
    if (w.call.log_sum_exp != nullptr) {
      const double missing = w.call.map == Map::favor ? missing_log(w.call, w.m.raw, *w.m.query_top) : 0;
      static_cast<S*>(w.call.log_sum_exp)[row_index(w.call, w.item, query, head)] = log_of(denominator, missing);
    }
    invert(&denominator, 1);
  }
  const Chunk at{0, 0, query, 1, 0};
  store_rows(w.m.out, 0, 1, w.call.d_value, nullptr, denominator,
             query_rows(w.call, w.item, at, w.call.out, head, w.call.d_value));
}

// Tokens.

/// What is left of a state: a factor for each row, or one for all.
template <typename S>
struct Kept {
  const S* factors = nullptr;
  S factor = 1;
};

/// Loads the key for state `index`; of favor, counts it in among the maxima.
template <typename S>
Kept<S> begin_key(const Work<S>& w, std::int32_t key, long index, const Rows<S>& state) {
  load_key(w, key, state);
  if (w.call.map == Map::favor) return {.factors = w.m.factors};
  if (w.call.decayed) return {.factor = decay_table<S>(w.call, w.item, index)[DecayTable::powers + 1]};
  if (w.call.delta) return {.factor = load_news(w, key, state)};
  return {};
}

template <typename S>
void add_norm(const Work<S>& w, const Kept<S>& kept, const Rows<S>& state) {
  each_vector<S>(w.call.width, [&](long f) {
    const long count = w.call.width - f;
    const Vector<S> factor = kept.factors == nullptr ? broadcast(kept.factor) : load(kept.factors + f);
    store_at_most(load_at_most(state.norm + f, count) * factor + load(w.m.key + f), state.norm + f, count);
  });
}

/// Key `key`, and the first heads of the query that stands at it (`query` negative: none), one for each state.
template <typename S>
void step(const Work<S>& w, std::int32_t key, std::int32_t query) {
  for (long index = 0; index < states_of(w.call, w.item); ++index) {
    const Rows<S> state = rows_of(w.call, w.states, index);
    const Kept<S> kept = begin_key(w, key, index, state);
    if (w.call.normalised) add_norm(w, kept, state);
    if (query >= 0) load_query(w, query, index, state);
    update(w.call, state.sums, kept.factors, kept.factor, w.m.key, w.m.value, w.m.query, w.m.out);
    if (query >= 0) store_out(w, query, index, state);
  }
}

template <typename S>
void read_heads(const Work<S>& w, std::int32_t query, long first_head) {
  for (long head = first_head; head < w.item.heads; ++head) {
    const Rows<S> state = rows_of(w.call, w.states, w.call.decayed ? head : 0);
    load_query(w, query, head, state);
    read(w.call, state.sums, w.m.query, w.m.out);
    store_out(w, query, head, state);
  }
}

template <typename S>
void run(const Call& call, const Item& item, S* states, void* memory) {
  Carver carver = carver_of(memory);
  Work<S> w(call, item, states, carver);
  clear(w.m.query, padded(call.width));
  const std::int32_t ahead = item.key_count - item.query_count;
  // Queries before the first key.
  if (call.causal) {
    for (std::int32_t query = 0; query < -ahead && query < item.query_count; ++query) read_heads(w, query, 0);
  }
  for (std::int32_t key = 0; key < item.key_count; ++key) {
    const std::int32_t query = call.causal && key >= ahead ? key - ahead : -1;
    step(w, key, query);
    if (query >= 0) read_heads(w, query, states_of(call, item));
  }
  if (call.causal) return;
  for (std::int32_t query = 0; query < item.query_count; ++query) read_heads(w, query, 0);
}

}  // namespace

void recurrent(const Call& call, const Item& item, void* state, void* memory) {
  with_scalar(call, [&](auto s) { run(call, item, static_cast<decltype(s)*>(state), memory); });
}
std::int64_t bytes_of_recurrent(const Call& call) {
  Carver carver{0};
  with_scalar(call, [&](auto s) { Memory<decltype(s)>(carver, call); });
  return static_cast<std::int64_t>(carver.used);
}

}  // namespace rapt::attention::linear::RAPT_ISA
