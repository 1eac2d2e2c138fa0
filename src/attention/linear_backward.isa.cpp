/// Backward pass of the forms that add up, by chunks in reverse. In the notation of linear_forward.isa.cpp, with A the
/// weights G phi(Q) phi(K)^T, D their sums (1 unless normalised), dO the given gradient and R that of the state after:
///   dN = dO / D,  dD = -(dO out) / D,  dA = G (dN V^T + dD),
///   d phi(Q) = dA phi(K) + a (dN S^T + dD s),  R before = (all of a) R + (a phi(Q))^T dN,
///   d phi(K) = dA^T phi(Q) + b (V R^T + r),    dV = A^T dN + b phi(K) R,
/// where s are the sums of features and r is their gradient. dO out comes from products that are needed anyway.
#include "attention/linear_chunk.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
struct Gradients {
  S* values_t;        ///< [d_value, keys]
  S* state_t;         ///< [d_value, width]: transpose of a state, or of the gradient of one
  S* d_keys;          ///< [keys, width]
  S* d_values;        ///< [keys, d_value]
  S* d_out;           ///< [queries, d_value], then dN
  S* d_scores;        ///< [queries, keys]: dO V^T, then dA
  S* d_queries;       ///< [queries, width]
  S* d_before;        ///< [queries, width]: gradient of queries_before
  S* d_denominators;  ///< [queries]
  S* added;           ///< [states, width, d_value]: what the queries add to the gradient of the state before
  S* added_norm;      ///< [width]
  S* d_keys_after;    ///< [keys, width]: what comes from the state after the chunk
  S* d_values_after;  ///< [keys, d_value]
  S* d_raw;           ///< favor: [tokens, d_key]

  void carve(Carver& carver, const Call& call, const Item& item, const Buffers<S>& b) {
    constexpr long rows = Buffers<S>::rows;
    values_t = carver.take<S>(call.d_value * b.ld_chunk);
    state_t = carver.take<S>(call.d_value * b.ld_width);
    for (S** p : {&d_keys, &d_queries, &d_before, &d_keys_after}) *p = carver.take<S>(rows * b.ld_width);
    for (S** p : {&d_values, &d_out, &d_values_after}) *p = carver.take<S>(rows * b.ld_value);
    d_scores = carver.take<S>(rows * b.ld_chunk);
    d_denominators = carver.take<S>(rows);
    added = carver.take<S>(states_of(call, item) * call.width * b.ld_value);
    added_norm = carver.take<S>(padded(call.width));
    d_raw = carver.take<S>(call.map == Map::favor ? rows * b.ld_key : 0);
  }
};

/// A chunk at work.
template <typename S>
struct Work {
  const Call& call;
  const Item& item;
  const Step& step;
  const Chunk& chunk;
  Buffers<S> b;
  Gradients<S> g;

  Work(const Call& c, const Item& i, const Step& s) : call(c), item(i), step(s), chunk(s.chunk), b(c) {
    Carver carver = carver_of(s.memory);
    b.carve(carver, c, i);
    g.carve(carver, c, i, b);
  }
  State<S> before(long head) const { return state_at<S>(call, step.before, call.decayed ? head : 0); }
};

// Of the queries.

/// scores = dO V^T and products of queries and keys, on and below the diagonal.
template <typename S>
void multiply_chunk(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  multiply_scores(w.call, w.chunk, b);
  multiply(Product<S>{.a = w.g.d_out,
                      .lda = b.ld_value,
                      .b = w.g.values_t,
                      .ldb = b.ld_chunk,
                      .c = w.g.d_scores,
                      .ldc = b.ld_chunk,
                      .rows = w.chunk.queries,
                      .depth = w.call.d_value,
                      .columns = w.chunk.keys,
                      .shape = Shape::lower_result,
                      .diagonal = w.chunk.diagonal});
}

/// d_before = dO S^T.
template <typename S>
void multiply_state(const Work<S>& w, const State<S>& before, bool first_of_state) {
  if (first_of_state) transpose(before.sums, w.b.ld_value, w.call.width, w.call.d_value, w.g.state_t, w.b.ld_width);
  multiply(Product<S>{.a = w.g.d_out,
                      .lda = w.b.ld_value,
                      .b = w.g.state_t,
                      .ldb = w.b.ld_width,
                      .c = w.g.d_before,
                      .ldc = w.b.ld_width,
                      .rows = w.chunk.queries,
                      .depth = w.call.d_value,
                      .columns = w.call.width});
}

/// Weights from scores, and scores with zeros above the diagonal; returns the sum of weights.
template <typename S>
S weigh_row(const Work<S>& w, const Triangle<S>& triangle, long i) {
  const S* factors = triangle.row(w.chunk.diagonal + i);
  S* scores = w.b.scores + i * w.b.ld_chunk;
  S* d_scores = w.g.d_scores + i * w.b.ld_chunk;
  Vector<S> total = {};
  each_vector<S>(w.chunk.keys, [&](long j) {
    const Vector<S> factor = load(factors + j);
    const Vector<S> weight = factor == Vector<S>{} ? Vector<S>{} : load(scores + j) * factor;
    const Vector<S> d_weight = factor == Vector<S>{} ? Vector<S>{} : load(d_scores + j) * factor;
    total += weight;
    store(weight, scores + j);
    store(d_weight, d_scores + j);
  });
  return sum(total);
}

/// dO out of one query times its denominator.
template <typename S>
S product_with_output(const Work<S>& w, const State<S>& before, long i) {
  S result = 0;
  if (w.chunk.keys > 0) {
    result += dot(w.b.scores + i * w.b.ld_chunk, w.g.d_scores + i * w.b.ld_chunk, w.chunk.keys);
  }
  if (before.sums != nullptr) {
    result += dot(w.b.queries_before + i * w.b.ld_width, w.g.d_before + i * w.b.ld_width, w.call.width);
  }
  return result;
}

/// Brings the gradients of queries through the quotient: d_out becomes dN, d_scores dA, d_before complete. The factors
/// of the triangle are ones and zeros here.
template <typename S>
void divide(const Work<S>& w, const Triangle<S>& triangle, const State<S>& before) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const bool has_keys = w.chunk.keys > 0, has_state = before.sums != nullptr;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const S norm = has_state ? dot(b.queries_before + i * b.ld_width, before.norm, w.call.width) : S(0);
    b.denominators[i] = has_keys ? b.denominators[i] + norm : norm;
  }
  invert(b.denominators, w.chunk.queries);
  for (long i = 0; i < w.chunk.queries; ++i) {
    const S inverse = b.denominators[i];
    const S d_denominator = -product_with_output(w, before, i) * inverse * inverse;
    g.d_denominators[i] = d_denominator;
    S* d_out = g.d_out + i * b.ld_value;
    scale_into(d_out, inverse, w.call.d_value, d_out);
    if (has_keys) {
      S* d_scores = g.d_scores + i * b.ld_chunk;
      const S* ones = triangle.row(w.chunk.diagonal + i);
      each_vector<S>(w.chunk.keys, [&](long j) {
        store(load(d_scores + j) * inverse + load(ones + j) * d_denominator, d_scores + j);
      });
    }
    if (has_state) {
      S* d_before = g.d_before + i * b.ld_width;
      each_vector<S>(w.call.width, [&](long f) {
        store(load(d_before + f) * inverse + load(before.norm + f) * d_denominator, d_before + f);
      });
    }
  }
}

/// d_queries, and the parts of d_keys and d_values within the chunk.
template <typename S>
void differentiate_chunk(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  multiply(Product<S>{.a = g.d_scores,
                      .lda = b.ld_chunk,
                      .b = b.keys,
                      .ldb = b.ld_width,
                      .c = g.d_queries,
                      .ldc = b.ld_width,
                      .rows = w.chunk.queries,
                      .depth = w.chunk.keys,
                      .columns = w.call.width,
                      .shape = Shape::lower_left,
                      .diagonal = w.chunk.diagonal});
  Product<S> to_keys{.a = g.d_scores,
                     .lda = b.ld_chunk,
                     .b = b.queries,
                     .ldb = b.ld_width,
                     .c = g.d_keys,
                     .ldc = b.ld_width,
                     .rows = w.chunk.keys,
                     .depth = w.chunk.queries,
                     .columns = w.call.width,
                     .transposed = true,
                     .accumulate = true,
                     .shape = Shape::upper_left,
                     .diagonal = w.chunk.diagonal};
  multiply(to_keys);
  to_keys.a = b.scores;
  to_keys.b = g.d_out;
  to_keys.ldb = to_keys.ldc = b.ld_value;
  to_keys.c = g.d_values;
  to_keys.columns = w.call.d_value;
  multiply(to_keys);
}

/// What the queries of head `head` add to the gradient of the state before the chunk.
template <typename S>
void add_to_state(const Work<S>& w, long head) {
  const Buffers<S>& b = w.b;
  const bool accumulate = head > 0 && !w.call.decayed;
  multiply(Product<S>{.a = b.queries_before,
                      .lda = b.ld_width,
                      .b = w.g.d_out,
                      .ldb = b.ld_value,
                      .c = w.g.added + (w.call.decayed ? head : 0) * w.call.width * b.ld_value,
                      .ldc = b.ld_value,
                      .rows = w.call.width,
                      .depth = w.chunk.queries,
                      .columns = w.call.d_value,
                      .transposed = true,
                      .accumulate = accumulate});
  if (!w.call.normalised) return;
  if (!accumulate) clear(w.g.added_norm, padded(w.call.width));
  for (long i = 0; i < w.chunk.queries; ++i) {
    add_scaled(b.queries_before + i * b.ld_width, w.g.d_denominators[i], w.call.width, w.g.added_norm);
  }
}

/// The gradient of raw rows x of favor, given that of their features times the features: w_f weighs in with it.
template <typename S>
void through_directions(const Work<S>& w, const S* d_exponents, long rows) {
  multiply(Product<S>{.a = d_exponents,
                      .lda = w.b.ld_width,
                      .b = static_cast<const S*>(w.call.directions),
                      .ldb = w.call.directions_stride,
                      .c = w.g.d_raw,
                      .ldc = w.b.ld_key,
                      .rows = rows,
                      .depth = w.call.width,
                      .columns = w.call.d_key});
}

/// dq of favor. Factors common to all features of a query, such as exp(-|q|^2 / 2), cancel in the quotient.
template <typename S>
void finish_favor_queries(const Work<S>& w, bool has_keys, bool has_state, const Stored& dq) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long row = i * b.ld_width;
    each_vector<S>(w.call.width, [&](long f) {
      Vector<S> d = {};
      if (has_keys) d += load(g.d_queries + row + f) * load(b.queries + row + f);
      if (has_state) d += load(g.d_before + row + f) * load(b.queries_before + row + f);
      store(d, g.d_queries + row + f);
    });
  }
  through_directions(w, g.d_queries, w.chunk.queries);
  store_rows(g.d_raw, b.ld_key, w.chunk.queries, w.call.d_key, nullptr, static_cast<S>(w.call.query_scale), dq);
}

template <typename S>
void finish_queries(const Work<S>& w, long head, bool has_keys, bool has_state) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const Stored dq = query_rows(w.call, w.item, w.chunk, w.call.dq, head, w.call.d_key);
  if (w.call.map == Map::favor) return finish_favor_queries(w, has_keys, has_state, dq);
  const S* lead = lead_of(w.call, w.item, b, head) + w.chunk.diagonal;
  for (long i = 0; i < w.chunk.queries; ++i) {
    S* row = g.d_queries + i * b.ld_width;
    if (!has_keys) clear(row, padded(w.call.width));
    if (has_state) add_scaled(g.d_before + i * b.ld_width, w.call.decayed ? lead[i] : S(1), w.call.width, row);
  }
  if (w.call.map != Map::none) {
    chain_rows(w.call.map, b.queries, b.ld_width, w.chunk.queries, w.call.width, g.d_queries);
  }
  store_rows(g.d_queries, b.ld_width, w.chunk.queries, w.call.d_key, nullptr, static_cast<S>(w.call.query_scale), dq);
}

/// The derivative by the decay of what queries read: of their own chunk (`scores` are products still), then of the
/// state.
template <typename S>
double slope_of_chunk(const Work<S>& w, long head) {
  const S* table = decay_table<S>(w.call, w.item, head);
  const Triangle<S> slopes = triangle_of_powers(table + DecayTable::reversed_slopes);
  double result = 0;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const S* factors = slopes.row(w.chunk.diagonal + i);
    const long row = i * w.b.ld_chunk;
    Vector<S> total = {};
    each_vector<S>(w.chunk.keys, [&](long j) {
      const Vector<S> factor = load(factors + j);
      const Vector<S> product = load(w.b.scores + row + j) * load(w.g.d_scores + row + j) * factor;
      total += factor == Vector<S>{} ? Vector<S>{} : product;
    });
    result += static_cast<double>(sum(total));
  }
  return result;
}
template <typename S>
double slope_of_state(const Work<S>& w, long head) {
  const S* slopes = decay_table<S>(w.call, w.item, head) + DecayTable::slopes + 1 + w.chunk.diagonal;
  double result = 0;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long row = i * w.b.ld_width;
    result += static_cast<double>(slopes[i] * dot(w.b.queries + row, w.g.d_before + row, w.call.width));
  }
  return result;
}

template <typename S>
void differentiate_queries(Work<S>& w, long head) {
  const State<S> before = w.before(head);
  const bool has_keys = w.chunk.keys > 0, has_state = before.sums != nullptr;
  load_queries(w.call, w.item, w.chunk, head, w.b);
  load_rows(query_rows(w.call, w.item, w.chunk, w.call.d_out, head, w.call.d_value), w.chunk.queries, w.call.d_value,
            S(1), w.g.d_out, w.b.ld_value);
  prefetch_query_gradients(w.call, w.item, w.chunk, head + 1);
  const Triangle<S> triangle = triangle_of(w.call, w.item, w.b, head);
  double slope = 0;
  if (has_keys) {
    multiply_chunk(w);
    if (w.step.d_decay != nullptr) slope += slope_of_chunk(w, head);
    for (long i = 0; i < w.chunk.queries; ++i) w.b.denominators[i] = weigh_row(w, triangle, i);
  }
  if (has_state) {
    multiply_state(w, before, head == 0 || w.call.decayed);
    if (w.step.d_decay != nullptr) slope += slope_of_state(w, head);
  }
  if (w.step.d_decay != nullptr) w.step.d_decay[head] += slope;
  if (w.call.normalised) divide(w, triangle, before);
  if (has_keys) differentiate_chunk(w);
  if (w.step.d_before != nullptr) add_to_state(w, head);
  finish_queries(w, head, has_keys, has_state);
}

template <typename S>
void prepare_chunk(const Call& call, const Item& item, const Step& step) {
  Work<S> w(call, item, step);
  const Chunk& chunk = step.chunk;
  prefetch_gradients(call, item, chunk);
  if (chunk.keys > 0) {
    load_keys(call, item, chunk, w.b, true);
    load_values(call, item, chunk, w.b);
    transpose(w.b.values, w.b.ld_value, chunk.keys, call.d_value, w.g.values_t, w.b.ld_chunk);
    clear(w.g.d_keys, chunk.keys * w.b.ld_width);
    clear(w.g.d_values, chunk.keys * w.b.ld_value);
  }
  if (call.map == Map::favor) {
    combine_tops(chunk, state_at<S>(call, step.before, 0).top, w.b, 0, padded(call.width));
  }
  if (step.d_decay != nullptr) {
    for (long head = 0; head < item.heads; ++head) step.d_decay[head] = 0;
  }
  if (chunk.queries == 0) return;
  for (long head = 0; head < item.heads; ++head) differentiate_queries(w, head);
}

// Of the state.

template <typename S>
void advance_chunk(const Call& call, const Item& item, const Step& step, long first, long last) {
  const Work<S> w(call, item, step);
  const bool has_queries = step.chunk.queries > 0;
  for (long index = 0; index < states_of(call, item); ++index) {
    const State<S> after = state_at<S>(call, step.d_after, index);
    const State<S> before = state_at<S>(call, step.d_before, index);
    const S whole = call.decayed ? whole_of(call, item, step.chunk, w.b, index) : S(1);
    const S* added = w.g.added + index * call.width * w.b.ld_value;
    for (long f = first; f < last; ++f) {
      const S factor = call.map == Map::favor ? w.b.from_before[f] : whole;
      const long row = f * w.b.ld_value;
      each_vector<S>(call.d_value, [&](long i) {
        Vector<S> x = has_queries ? load(added + row + i) : Vector<S>{};
        if (after.sums != nullptr) x = load(after.sums + row + i) * factor + x;
        store(x, before.sums + row + i);
      });
      if (call.normalised) {
        const S own = has_queries ? w.g.added_norm[f] : S(0);
        before.norm[f] = after.norm != nullptr ? after.norm[f] * factor + own : own;
      }
    }
    if (call.normalised && last == call.width) clear(before.norm + last, padded(last) - last);
  }
}

// Of the keys.

/// The derivative by the decay of the state after the chunk, given its gradient (and V R^T in d_keys_after).
template <typename S>
double slope_of_decay(const Work<S>& w, long head, const State<S>& after) {
  const S* table = decay_table<S>(w.call, w.item, head);
  const State<S> before = w.before(head);
  double result = 0;
  if (before.sums != nullptr) {
    const S slope = table[DecayTable::slopes + w.chunk.keys];
    for (long f = 0; f < w.call.width; ++f) {
      const long row = f * w.b.ld_value;
      result += static_cast<double>(slope * dot(before.sums + row, after.sums + row, w.call.d_value));
    }
  }
  const S* slopes = table + DecayTable::reversed_slopes + chunk_tokens - w.chunk.keys;
  for (long j = 0; j < w.chunk.keys; ++j) {
    const long row = j * w.b.ld_width;
    result += static_cast<double>(slopes[j] * dot(w.b.keys + row, w.g.d_keys_after + row, w.call.width));
  }
  return result;
}

/// Adds to d_keys and d_values what comes from the state after the chunk.
template <typename S>
void differentiate_state(const Work<S>& w, long head) {
  const State<S> after = state_at<S>(w.call, w.step.d_after, head);
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  transpose(after.sums, b.ld_value, w.call.width, w.call.d_value, g.state_t, b.ld_width);
  multiply(Product<S>{.a = b.values,
                      .lda = b.ld_value,
                      .b = g.state_t,
                      .ldb = b.ld_width,
                      .c = g.d_keys_after,
                      .ldc = b.ld_width,
                      .rows = keys,
                      .depth = w.call.d_value,
                      .columns = w.call.width});
  if (w.call.normalised) {
    for (long j = 0; j < keys; ++j) add_scaled(after.norm, S(1), w.call.width, g.d_keys_after + j * b.ld_width);
  }
  if (w.step.d_decay != nullptr) w.step.d_decay[head] += slope_of_decay(w, head, after);
  const S* features = b.keys;
  if (w.call.map == Map::favor) {
    // The state holds features relative to its own maxima.
    scale_columns(g.d_keys_after, b.ld_width, b.from_chunk, keys, w.call.width, g.d_keys_after);
    scale_columns(b.keys, b.ld_width, b.from_chunk, keys, w.call.width, b.queries);
    features = b.queries;
  }
  multiply(Product<S>{.a = features,
                      .lda = b.ld_width,
                      .b = after.sums,
                      .ldb = b.ld_value,
                      .c = g.d_values_after,
                      .ldc = b.ld_value,
                      .rows = keys,
                      .depth = w.call.width,
                      .columns = w.call.d_value});
  // (For forms without decay the table is that of the decay 1.)
  const S* tail = tail_of(w.call, w.item, w.chunk, b, head);
  add_scaled_rows(g.d_keys_after, b.ld_width, tail, keys, w.call.width, g.d_keys);
  add_scaled_rows(g.d_values_after, b.ld_value, tail, keys, w.call.d_value, g.d_values);
}

/// dk of favor: d w_f.k - |k|^2 / 2 = w_f - k.
template <typename S>
void finish_favor_keys(const Work<S>& w, const Stored& dk) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  for (long j = 0; j < w.chunk.keys; ++j) {
    const long row = j * b.ld_width;
    each_vector<S>(w.call.width,
                   [&](long f) { store(load(g.d_keys + row + f) * load(b.keys + row + f), g.d_keys + row + f); });
  }
  through_directions(w, g.d_keys, w.chunk.keys);
  for (long j = 0; j < w.chunk.keys; ++j) {
    Vector<S> total = {};
    each_vector<S>(w.call.width, [&](long f) { total += load(g.d_keys + j * b.ld_width + f); });
    add_scaled(b.raw_keys + j * b.ld_key, -sum(total), w.call.d_key, g.d_raw + j * b.ld_key);
  }
  store_rows(g.d_raw, b.ld_key, w.chunk.keys, w.call.d_key, nullptr, static_cast<S>(w.call.key_scale), dk);
}

template <typename S>
void finish_chunk(const Call& call, const Item& item, const Step& step) {
  if (step.chunk.keys == 0) return;
  const Work<S> w(call, item, step);
  const Buffers<S>& b = w.b;
  if (step.d_after != nullptr) {
    for (long head = 0; head < states_of(call, item); ++head) differentiate_state(w, head);
  }
  const long keys = step.chunk.keys;
  store_rows(w.g.d_values, b.ld_value, keys, call.d_value, nullptr, S(1),
             key_rows(call, item, step.chunk, call.dv, call.d_value));
  const Stored dk = key_rows(call, item, step.chunk, call.dk, call.d_key);
  if (call.map == Map::favor) return finish_favor_keys(w, dk);
  if (call.map != Map::none) chain_rows(call.map, b.keys, b.ld_width, keys, call.width, w.g.d_keys);
  store_rows(w.g.d_keys, b.ld_width, keys, call.d_key, nullptr, static_cast<S>(call.key_scale), dk);
}

template <typename S>
std::int64_t bytes_of(const Call& call, const Item& item) {
  Buffers<S> b(call);
  Carver carver{0};
  b.carve(carver, call, item);
  Gradients<S>().carve(carver, call, item, b);
  return static_cast<std::int64_t>(carver.used);
}

}  // namespace

void prepare_sums_backward(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { prepare_chunk<decltype(s)>(call, item, step); });
}
void advance_sums_backward(const Call& call, const Item& item, const Step& step, std::int32_t first,
                           std::int32_t last) {
  with_scalar(call, [&](auto s) { advance_chunk<decltype(s)>(call, item, step, first, last); });
}
void finish_sums_backward(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { finish_chunk<decltype(s)>(call, item, step); });
}
std::int64_t bytes_of_sums_backward(const Call& call, const Item& item) {
  std::int64_t bytes = 0;
  with_scalar(call, [&](auto s) { bytes = bytes_of<decltype(s)>(call, item); });
  return bytes;
}

}  // namespace rapt::attention::linear::RAPT_ISA
