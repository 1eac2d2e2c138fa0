/// A chunk of the linear forms: its memory, and what the forward and backward passes both compute. Included by
/// linear_*.isa.cpp only, everything has internal linkage (see kernels/simd.h).
#pragma once

#include "attention/linear_matrix.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// Columns of a matrix are padded to a multiple of this, for every vector width.
constexpr long padding = 16;
RAPT_INLINE long padded(long columns) {
  return round_up(columns, padding);
}
/// Leading dimension of a matrix with `columns` columns.
RAPT_INLINE long leading(long columns) {
  return padded(columns) + padding;
}

/// Calls function(S{}) with the type that the call computes with.
template <typename Function>
RAPT_INLINE void with_scalar(const Call& call, Function function) {
  if (call.dtype == DType::f64) return function(double{});
  function(float{});
}

/// e^x.
RAPT_INLINE F32 exponential(F32 x) {
  return exp(x);
}
/// By the library, lane by lane: it serves gradient checks.
inline F64 exponential(F64 x) {
  for (int i = 0; i < Simd<double>::width; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

// Loops over padded rows.

/// Calls body(i) for every vector of `count` elements, the last one padded.
template <typename S, typename Body>
RAPT_INLINE void each_vector(long count, Body body) {
  for (long i = 0; i < count; i += Simd<S>::width) body(i);
}

template <typename S>
RAPT_INLINE void fill(S* p, long count, S value) {
  each_vector<S>(count, [&](long i) { store(broadcast(value), p + i); });
}
/// y += factor * x.
template <typename S>
RAPT_INLINE void add_scaled(const S* x, S factor, long count, S* y) {
  each_vector<S>(count, [&](long i) { store(load(y + i) + load(x + i) * factor, y + i); });
}
template <typename S>
RAPT_INLINE void scale_into(const S* x, S factor, long count, S* y) {
  each_vector<S>(count, [&](long i) { store(load(x + i) * factor, y + i); });
}
/// Row j of the result = factors[j] * row j of x.
template <typename S>
RAPT_INLINE void scale_rows(const S* x, long ld, const S* factors, long rows, long columns, S* result) {
  for (long j = 0; j < rows; ++j) scale_into(x + j * ld, factors[j], columns, result + j * ld);
}
/// Row j of the result += factors[j] * row j of x.
template <typename S>
RAPT_INLINE void add_scaled_rows(const S* x, long ld, const S* factors, long rows, long columns, S* result) {
  for (long j = 0; j < rows; ++j) add_scaled(x + j * ld, factors[j], columns, result + j * ld);
}
/// Element f of every row times factors[f].
template <typename S>
RAPT_INLINE void scale_columns(const S* x, long ld, const S* factors, long rows, long columns, S* result) {
  for (long j = 0; j < rows; ++j) {
    each_vector<S>(columns, [&](long i) { store(load(x + j * ld + i) * load(factors + i), result + j * ld + i); });
  }
}
template <typename S>
RAPT_INLINE S dot(const S* x, const S* y, long count) {
  Vector<S> total = {};
  each_vector<S>(count, [&](long i) { total += load(x + i) * load(y + i); });
  return sum(total);
}

// States.

/// A state in the kernels' layout.
template <typename S>
struct State {
  S* sums = nullptr;  ///< [width, ld_value]
  S* norm = nullptr;  ///< [width], padded: sums of features
  S* top = nullptr;   ///< [width], padded: maxima of exponents; -inf in the padding and where nothing was seen

  void carve(Carver& carver, const Call& call) {
    sums = carver.take<S>(call.width * leading(call.d_value));
    if (call.normalised) norm = carver.take<S>(padded(call.width));
    if (call.map == Map::favor) top = carver.take<S>(padded(call.width));
  }
};

/// Heads of an item that have a state of their own.
RAPT_INLINE long states_of(const Call& call, const Item& item) {
  return call.decayed ? item.heads : 1;
}
template <typename S>
RAPT_INLINE State<S> state_at(const Call& call, const void* memory, long index) {
  State<S> state;
  if (memory == nullptr) return state;
  Carver carver = carver_of(memory);
  for (long i = 0; i <= index; ++i) state.carve(carver, call);
  return state;
}

// The memory of a chunk.

template <typename S>
struct Buffers {
  static constexpr long rows = chunk_tokens;
  long ld_chunk, ld_key, ld_width, ld_value;

  // Of the keys.
  S* raw_keys = nullptr;      ///< favor: [keys, d_key]
  S* raw_keys_t = nullptr;    ///< favor: [d_key, keys]
  S* keys = nullptr;          ///< [keys, width]: features; favor: in the backward pass only
  S* keys_t = nullptr;        ///< [width, keys]
  S* values = nullptr;        ///< [keys, d_value]
  S* weighted = nullptr;      ///< [keys, d_value]: values times their decay up to the end of the chunk
  S* added = nullptr;         ///< [states, width, d_value]: what the keys add to the state
  S* added_norm = nullptr;    ///< [width]
  S* top = nullptr;           ///< favor: [width], what exponents of the features are relative to
  S* half_squares = nullptr;  ///< favor: [keys], |k|^2 / 2
  S* from_before = nullptr;   ///< favor: [width], factors of the state before ...
  S* from_chunk = nullptr;    ///< ... and of the chunk's features in the state after
  S* top_after = nullptr;     ///< favor: [width]

  // Of the delta rule.
  S* alpha = nullptr;      ///< [keys]
  S* beta = nullptr;       ///< [keys]
  S* gamma = nullptr;      ///< [keys]: product of alpha from the start of the chunk
  S* tail = nullptr;       ///< [keys]: product of alpha from after the key to the end of the chunk
  S* ratios = nullptr;     ///< [keys, keys]: product of alpha from after key j up to key i, 0 above the diagonal
  S* products = nullptr;   ///< [keys, keys]: k_i.k_j below the diagonal, in the backward pass only
  S* minus_low = nullptr;  ///< [keys, keys]: -beta_i ratio_ij k_i.k_j below the diagonal, 0 elsewhere
  S* read = nullptr;       ///< [keys, d_value]: what the state before the chunk holds for the keys
  S* news = nullptr;       ///< [keys, d_value]: what is written for the keys

  // Of the queries of one head.
  S* raw_queries = nullptr;     ///< favor: [queries, d_key]
  S* queries = nullptr;         ///< [queries, width]: features for the keys of the chunk
  S* queries_before = nullptr;  ///< [queries, width]: for the state before the chunk
  S* query_tops = nullptr;      ///< favor: [queries], what exponents of the features are relative to
  S* scores = nullptr;          ///< [queries, keys]
  S* sums = nullptr;            ///< [queries, d_value]
  S* denominators = nullptr;    ///< [queries]

  Buffers(const Call& call)
      : ld_chunk(leading(rows)),
        ld_key(leading(call.d_key)),
        ld_width(leading(call.width)),
        ld_value(leading(call.d_value)) {}

  void carve(Carver& carver, const Call& call, const Item& item) {
    const bool favor = call.map == Map::favor;
    if (favor) {
      raw_keys = carver.take<S>(rows * ld_key);
      raw_keys_t = carver.take<S>(call.d_key * ld_chunk);
      raw_queries = carver.take<S>(rows * ld_key);
      for (S** p : {&top, &from_before, &from_chunk, &top_after}) *p = carver.take<S>(padded(call.width));
      for (S** p : {&half_squares, &query_tops}) *p = carver.take<S>(rows);
    }
    keys = carver.take<S>(rows * ld_width);
    keys_t = carver.take<S>(call.width * ld_chunk);
    values = carver.take<S>(rows * ld_value);
    weighted = carver.take<S>(rows * ld_value);
    added = carver.take<S>(states_of(call, item) * call.width * ld_value);
    added_norm = carver.take<S>(padded(call.width));
    if (call.delta) {
      for (S** p : {&alpha, &beta, &gamma, &tail}) *p = carver.take<S>(rows);
      for (S** p : {&ratios, &products, &minus_low}) *p = carver.take<S>(rows * ld_chunk);
      for (S** p : {&read, &news}) *p = carver.take<S>(rows * ld_value);
    }
    queries = carver.take<S>(rows * ld_width);
    // Without factors between them, both are the same.
    queries_before = favor || call.decayed || call.delta ? carver.take<S>(rows * ld_width) : queries;
    scores = carver.take<S>(rows * ld_chunk);
    sums = carver.take<S>(rows * ld_value);
    denominators = carver.take<S>(rows);
  }
};

template <typename S>
RAPT_INLINE Buffers<S> buffers_of(const Call& call, const Item& item, const Step& step) {
  Buffers<S> b(call);
  Carver carver = carver_of(step.memory);
  b.carve(carver, call, item);
  return b;
}

// Rows of operands.

template <typename S>
constexpr DType scalar_type = sizeof(S) == 8 ? DType::f64 : DType::f32;

RAPT_INLINE Stored stored(DType dtype, const Operand& operand, long token, long head, long d) {
  const long size = dtype == DType::bf16 ? 2 : dtype == DType::f32 ? 4 : 8;
  return {dtype, static_cast<char*>(operand.data) + (token * operand.stride + head * d) * size, operand.stride};
}
RAPT_INLINE Stored key_rows(const Call& call, const Item& item, const Chunk& chunk, const Operand& operand, long d) {
  return stored(call.dtype, operand, item.key_begin + chunk.first_key, item.kv_head, d);
}
RAPT_INLINE Stored query_rows(const Call& call, const Item& item, const Chunk& chunk, const Operand& operand, long head,
                              long d) {
  return stored(call.dtype, operand, item.query_begin + chunk.first_query, item.head + head, d);
}

// Rows of a head lie too far apart for the processor to guess what comes next.

/// Begins to fetch the keys and values of the chunk at `first_key`, if there is one.
RAPT_INLINE void prefetch_keys(const Call& call, const Item& item, long first_key) {
  if (first_key < 0) return;
  const Chunk at{static_cast<int32_t>(first_key), 0, 0, 0, 0};
  const long keys = at_most(chunk_tokens, item.key_count - first_key);
  prefetch_rows(key_rows(call, item, at, call.k, call.d_key), keys, call.d_key, false);
  prefetch_rows(key_rows(call, item, at, call.v, call.d_value), keys, call.d_value, false);
}
/// The same for one operand of head `head` of the item, if there is one.
RAPT_INLINE void prefetch_queries(const Call& call, const Item& item, const Chunk& chunk, const Operand& operand,
                                  long head, long d, bool write) {
  if (head < item.heads) prefetch_rows(query_rows(call, item, chunk, operand, head, d), chunk.queries, d, write);
}

/// Begins to fetch what the backward pass reads and writes of a head's queries.
RAPT_INLINE void prefetch_query_gradients(const Call& call, const Item& item, const Chunk& chunk, long head) {
  prefetch_queries(call, item, chunk, call.q, head, call.d_key, false);
  prefetch_queries(call, item, chunk, call.d_out, head, call.d_value, false);
  prefetch_queries(call, item, chunk, call.dq, head, call.d_key, true);
}
/// ... and of a chunk, and the keys of the one before it.
RAPT_INLINE void prefetch_gradients(const Call& call, const Item& item, const Chunk& chunk) {
  prefetch_query_gradients(call, item, chunk, 0);
  prefetch_keys(call, item, long{chunk.first_key} - chunk_tokens);
  prefetch_rows(key_rows(call, item, chunk, call.dk, call.d_key), chunk.keys, call.d_key, true);
  prefetch_rows(key_rows(call, item, chunk, call.dv, call.d_value), chunk.keys, call.d_value, true);
}

// Decays.

/// The table of powers for head `head` of the item.
template <typename S>
RAPT_INLINE const S* decay_table(const Call& call, const Item& item, long head) {
  return static_cast<const S*>(call.decay_tables) + (item.head + head) * call.decay_stride;
}

/// Factors of a key's weight for a query of the same chunk: a lower triangle, zeros above the diagonal.
template <typename S>
struct Triangle {
  const S* first;
  long step;
  /// For the query at place p of the chunk, by keys.
  RAPT_INLINE const S* row(long p) const { return first + p * step; }
};
template <typename S>
RAPT_INLINE Triangle<S> triangle_of_powers(const S* reversed) {
  return {reversed + chunk_tokens - 1, -1};
}
template <typename S>
RAPT_INLINE Triangle<S> triangle_of(const Call& call, const Item& item, const Buffers<S>& b, long head) {
  if (call.delta) return {b.ratios, b.ld_chunk};
  return triangle_of_powers(decay_table<S>(call, item, head) + DecayTable::reversed);
}

/// Factors from before the chunk to each of its places, by place.
template <typename S>
RAPT_INLINE const S* lead_of(const Call& call, const Item& item, const Buffers<S>& b, long head) {
  return call.delta ? b.gamma : decay_table<S>(call, item, head) + DecayTable::powers + 1;
}
/// Factors from each key to the end of the chunk, by key.
template <typename S>
RAPT_INLINE const S* tail_of(const Call& call, const Item& item, const Chunk& chunk, const Buffers<S>& b, long head) {
  if (call.delta) return b.tail;
  return decay_table<S>(call, item, head) + DecayTable::reversed + chunk_tokens - chunk.keys;
}
/// The factor from before the chunk to its end.
template <typename S>
RAPT_INLINE S whole_of(const Call& call, const Item& item, const Chunk& chunk, const Buffers<S>& b, long head) {
  if (call.delta) return b.gamma[chunk.keys - 1];
  return decay_table<S>(call, item, head)[DecayTable::powers + chunk.keys];
}

// Features.

/// elu(x) + 1 or max(x, 0) in place.
template <typename S>
RAPT_INLINE void map_rows(Map map, S* rows, long ld, long count, long width) {
  for (long j = 0; j < count; ++j) {
    each_vector<S>(width, [&](long i) {
      S* p = rows + j * ld + i;
      const Vector<S> x = load(p);
      const Vector<S> y = map == Map::relu ? max(x, Vector<S>{}) : x > Vector<S>{} ? x + S(1) : exponential(x);
      store(keep_below<S>(y, width - i), p);
    });
  }
}

/// d_features times the derivative of the map, which its value tells.
template <typename S>
RAPT_INLINE void chain_rows(Map map, const S* features, long ld, long count, long width, S* d_features) {
  for (long j = 0; j < count; ++j) {
    each_vector<S>(width, [&](long i) {
      const Vector<S> y = load(features + j * ld + i);
      const Vector<S> one = broadcast(S(1));
      const Vector<S> slope = map == Map::relu ? (y > Vector<S>{} ? one : Vector<S>{}) : min(y, one);
      S* p = d_features + j * ld + i;
      store(load(p) * slope, p);
    });
  }
}

/// keys_t, top and added_norm of favor from the exponents in keys_t.
template <typename S>
RAPT_INLINE void exponentiate_keys(const Call& call, const Chunk& chunk, Buffers<S>& b) {
  fill(b.top, padded(call.width), -infinity<S>);
  for (long f = 0; f < call.width; ++f) {
    S* row = b.keys_t + f * b.ld_chunk;
    Vector<S> top = minus_infinity<S>();
    each_vector<S>(chunk.keys, [&](long j) {
      const Vector<S> x = load(row + j) - load(b.half_squares + j);
      store(x, row + j);
      top = max(keep_below<S>(x, chunk.keys - j, minus_infinity<S>()), top);
    });
    b.top[f] = maximum(top);
    const Vector<S> shift = broadcast(b.top[f]);
    each_vector<S>(chunk.keys,
                   [&](long j) { store(keep_below<S>(exponential(load(row + j) - shift), chunk.keys - j), row + j); });
  }
}

template <typename S>
RAPT_INLINE void load_favor_keys(const Call& call, const Item& item, const Chunk& chunk, Buffers<S>& b) {
  load_rows(key_rows(call, item, chunk, call.k, call.d_key), chunk.keys, call.d_key, static_cast<S>(call.key_scale),
            b.raw_keys, b.ld_key);
  transpose(b.raw_keys, b.ld_key, chunk.keys, call.d_key, b.raw_keys_t, b.ld_chunk);
  clear(b.half_squares, Buffers<S>::rows);
  for (long j = 0; j < chunk.keys; ++j) {
    const S* row = b.raw_keys + j * b.ld_key;
    b.half_squares[j] = dot(row, row, call.d_key) / 2;
  }
  multiply(Product<S>{.a = {static_cast<const S*>(call.directions), call.directions_stride},
                      .b = {b.raw_keys_t, b.ld_chunk},
                      .c = {b.keys_t, b.ld_chunk},
                      .rows = call.width,
                      .depth = call.d_key,
                      .columns = chunk.keys});
  exponentiate_keys(call, chunk, b);
}

/// keys, keys_t and values; keys of favor only if `rows_too`.
template <typename S>
RAPT_INLINE void load_keys(const Call& call, const Item& item, const Chunk& chunk, Buffers<S>& b, bool rows_too) {
  if (call.map == Map::favor) {
    load_favor_keys(call, item, chunk, b);
    if (rows_too) transpose(b.keys_t, b.ld_chunk, call.width, chunk.keys, b.keys, b.ld_width);
  } else {
    load_rows(key_rows(call, item, chunk, call.k, call.d_key), chunk.keys, call.d_key, static_cast<S>(call.key_scale),
              b.keys, b.ld_width);
    if (call.map != Map::none) map_rows(call.map, b.keys, b.ld_width, chunk.keys, call.width);
    transpose(b.keys, b.ld_width, chunk.keys, call.width, b.keys_t, b.ld_chunk);
  }
}
template <typename S>
RAPT_INLINE void load_values(const Call& call, const Item& item, const Chunk& chunk, Buffers<S>& b) {
  load_rows(key_rows(call, item, chunk, call.v, call.d_value), chunk.keys, call.d_value, S(1), b.values, b.ld_value);
}

/// What exponents of the state after a chunk are relative to, and the factors that bring the two parts there; for
/// features [first, last). `top_before` null: nothing was seen before.
template <typename S>
RAPT_INLINE void combine_tops(const Chunk& chunk, const S* top_before, const Buffers<S>& b, long first, long last) {
  const Vector<S> none = minus_infinity<S>();
  for (long f = first; f < last; f += Simd<S>::width) {
    const Vector<S> before = top_before == nullptr ? none : load(top_before + f);
    const Vector<S> own = chunk.keys == 0 ? none : load(b.top + f);
    const Vector<S> after = max(before, own);
    const Vector<S> shift = after == none ? Vector<S>{} : after;
    store(after, b.top_after + f);
    store(exponential(before - shift), b.from_before + f);
    store(exponential(own - shift), b.from_chunk + f);
  }
}

/// From projections of queries to features relative to each row's maximum (which cancels): for the chunk's keys in
/// `queries` and for the state in `queries_before`.
template <typename S>
RAPT_INLINE void exponentiate_queries(const Call& call, const Chunk& chunk, Buffers<S>& b) {
  for (long i = 0; i < chunk.queries; ++i) {
    S* row = b.queries + i * b.ld_width;
    Vector<S> top = minus_infinity<S>();
    each_vector<S>(call.width, [&](long f) {
      const Vector<S> x = load(row + f) + load(b.top_after + f);
      store(x, row + f);
      top = max(x, top);
    });
    const S highest = maximum(top);
    const S shift = highest == -infinity<S> ? S(0) : highest;
    b.query_tops[i] = shift;
    each_vector<S>(call.width, [&](long f) {
      const Vector<S> phi = exponential(load(row + f) - shift);
      store(phi * load(b.from_chunk + f), row + f);
      store(phi * load(b.from_before + f), b.queries_before + i * b.ld_width + f);
    });
  }
}

/// Projections of rows [rows, d_key] on the directions of favor: [rows, width].
template <typename S>
RAPT_INLINE void project(const Call& call, Matrix<const S> x, long rows, Matrix<S> result) {
  multiply(Product<S>{.a = x,
                      .b = {static_cast<const S*>(call.directions_t), call.directions_t_stride},
                      .c = result,
                      .rows = rows,
                      .depth = call.d_key,
                      .columns = call.width});
}

/// queries and queries_before of head `head` of the item; combine_tops comes before.
template <typename S>
RAPT_INLINE void load_queries(const Call& call, const Item& item, const Chunk& chunk, long head, Buffers<S>& b) {
  const Stored source = query_rows(call, item, chunk, call.q, head, call.d_key);
  const S scale = static_cast<S>(call.query_scale);
  if (call.map == Map::favor) {
    load_rows(source, chunk.queries, call.d_key, scale, b.raw_queries, b.ld_key);
    project<S>(call, {b.raw_queries, b.ld_key}, chunk.queries, {b.queries, b.ld_width});
    exponentiate_queries(call, chunk, b);
    return;
  }
  load_rows(source, chunk.queries, call.d_key, scale, b.queries, b.ld_width);
  if (call.map != Map::none) map_rows(call.map, b.queries, b.ld_width, chunk.queries, call.width);
  // Queries before the first key have no state to read either.
  if ((call.decayed || call.delta) && chunk.keys > 0) {
    scale_rows(b.queries, b.ld_width, lead_of(call, item, b, head) + chunk.diagonal, chunk.queries, call.width,
               b.queries_before);
  }
}

/// result [rows, keys] = x phi(K)^T for rows x of features, of which row i stands at key diagonal + i of the chunk;
/// from the diagonal down.
template <typename S>
RAPT_INLINE void multiply_by_keys(const Call& call, const Chunk& chunk, const Buffers<S>& b, const S* x, long rows,
                                  long diagonal, S* result) {
  multiply(Product<S>{.a = {x, b.ld_width},
                      .b = {b.keys_t, b.ld_chunk},
                      .c = {result, b.ld_chunk},
                      .rows = rows,
                      .depth = call.width,
                      .columns = chunk.keys,
                      .shape = Shape::lower_result,
                      .diagonal = diagonal});
}
/// Products of the queries with the keys of the chunk.
template <typename S>
RAPT_INLINE void multiply_scores(const Call& call, const Chunk& chunk, const Buffers<S>& b) {
  multiply_by_keys(call, chunk, b, b.queries, chunk.queries, chunk.diagonal, b.scores);
}

/// result [rows, columns] (+)= x times columns of a state, for rows x of features.
template <typename S>
RAPT_INLINE void read_sums(const Call& call, const Buffers<S>& b, const S* x, long rows, const S* sums, long columns,
                           S* result, bool accumulate = false) {
  multiply(Product<S>{.a = {x, b.ld_width},
                      .b = {sums, b.ld_value},
                      .c = {result, b.ld_value},
                      .rows = rows,
                      .depth = call.width,
                      .columns = columns,
                      .accumulate = accumulate});
}
/// sums (+)= phi(K)^T x, for columns of a state and of rows x of the chunk's keys.
template <typename S>
RAPT_INLINE void add_to_sums(const Call& call, const Chunk& chunk, const Buffers<S>& b, const S* x, long columns,
                             S* sums, bool accumulate) {
  multiply(Product<S>{.a = {b.keys_t, b.ld_chunk},
                      .b = {x, b.ld_value},
                      .c = {sums, b.ld_value},
                      .rows = call.width,
                      .depth = chunk.keys,
                      .columns = columns,
                      .accumulate = accumulate});
}

// Denominators.

/// The least sum of weights that can be divided by; what is less counts as 0.
template <typename S>
constexpr S least_denominator = sizeof(S) == 4 ? static_cast<S>(0x1p-126) : static_cast<S>(0x1p-1022);

/// From sums of weights to factors; a sum of 0 gives 0.
template <typename S>
RAPT_INLINE void invert(S* denominators, long count) {
  for (long i = 0; i < count; ++i) {
    denominators[i] = denominators[i] < least_denominator<S> ? S(0) : 1 / denominators[i];
  }
}

/// The place of a number of query `query` of head `head` of the item in [query tokens, heads].
RAPT_INLINE long row_index(const Call& call, const Item& item, long query, long head) {
  return (item.query_begin + query) * call.heads + item.head + head;
}

/// The logarithm that products of a query's features lack: that of favor's query is without |q|^2 / 2 and relative to
/// `top`.
template <typename S>
RAPT_INLINE double missing_log(const Call& call, const S* raw_query, S top) {
  return static_cast<double>(top) - static_cast<double>(dot(raw_query, raw_query, call.d_key)) / 2;
}

template <typename S>
RAPT_INLINE S log_of(S denominator, double missing) {
  if (denominator < least_denominator<S>) return -infinity<S>;
  return static_cast<S>(__builtin_log(static_cast<double>(denominator)) + missing);
}

}  // namespace
}  // namespace rapt::attention::linear::RAPT_ISA
