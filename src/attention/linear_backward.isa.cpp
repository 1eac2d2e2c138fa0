/// Backward pass of the forms that add up, by chunks in reverse. In the notation of linear_forward.isa.cpp, with A the
/// weights G phi(Q) phi(K)^T, D their sums (1 unless normalised), dO the given gradient and R that of the state after:
///   dN = dO / D,  dD = -(dO out) / D,  dA = G (dN V^T + dD),
///   d phi(Q) = dA phi(K) + a (dN S^T + dD s),  R before = (all of a) R + (a phi(Q))^T dN,
///   d phi(K) = dA^T phi(Q) + b (V R^T + r),    dV = A^T dN + b phi(K) R,
/// where s are the sums of features and r is their gradient. dO out comes from products that are needed anyway.
#include "attention/linear_gradients.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
struct Gradients : ChunkGradients<S> {
  S* values_t;        ///< [d_value, keys]
  S* d_denominators;  ///< [queries]
  S* added_norm;      ///< [width]
  S* d_keys_after;    ///< [keys, width]: what comes from the state after the chunk
  S* d_values_after;  ///< [keys, d_value]
  S* d_raw;           ///< favor: [tokens, d_key]

  void carve(Carver& carver, const Call& call, const Item& item, const Buffers<S>& b) {
    constexpr long rows = Buffers<S>::rows;
    this->carve_common(carver, call, item, b);
    values_t = carver.take<S>(call.d_value * b.ld_chunk);
    d_denominators = carver.take<S>(rows);
    added_norm = carver.take<S>(padded(call.width));
    d_keys_after = carver.take<S>(rows * b.ld_width);
    d_values_after = carver.take<S>(rows * b.ld_value);
    d_raw = carver.take<S>(call.map == Map::favor ? rows * b.ld_key : 0);
  }
};
template <typename S>
using Work = BackwardWork<S, Gradients>;

// Of the queries.

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

/// What the queries of head `head` add to the gradient of the state before the chunk.
template <typename S>
void add_to_state(const Work<S>& w, long head) {
  const Buffers<S>& b = w.b;
  const bool accumulate = head > 0 && !w.call.decayed;
  pull_back_state(w, w.call.decayed ? head : 0, accumulate);
  if (!w.call.normalised) return;
  if (!accumulate) clear(w.g.added_norm, padded(w.call.width));
  for (long i = 0; i < w.chunk.queries; ++i) {
    add_scaled(b.queries_before + i * b.ld_width, w.g.d_denominators[i], w.call.width, w.g.added_norm);
  }
}

/// The gradient of raw rows x of favor, given that of their features times the features: w_f weighs in with it.
template <typename S>
void through_directions(const Work<S>& w, const S* d_exponents, long rows) {
  multiply(Product<S>{.a = {d_exponents, w.b.ld_width},
                      .b = {static_cast<const S*>(w.call.directions), w.call.directions_stride},
                      .c = {w.g.d_raw, w.b.ld_key},
                      .rows = rows,
                      .depth = w.call.width,
                      .columns = w.call.d_key});
}

/// dq of favor. Factors common to all features of a query, such as exp(-|q|^2 / 2), cancel in the quotient.
template <typename S>
void finish_favor_queries(const Work<S>& w, long head, bool has_keys, bool has_state) {
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
  store_rows(g.d_raw, b.ld_key, w.chunk.queries, w.call.d_key, nullptr, static_cast<S>(w.call.query_scale),
             query_rows(w.call, w.item, w.chunk, w.call.dq, head, w.call.d_key));
}

template <typename S>
void finish_queries(const Work<S>& w, long head, bool has_keys, bool has_state) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  if (w.call.map == Map::favor) return finish_favor_queries(w, head, has_keys, has_state);
  const S* lead = lead_of(w.call, w.item, b, head) + w.chunk.diagonal;
  for (long i = 0; i < w.chunk.queries; ++i) {
    S* row = g.d_queries + i * b.ld_width;
    if (!has_keys) clear(row, padded(w.call.width));
    if (has_state) add_scaled(g.d_before + i * b.ld_width, w.call.decayed ? lead[i] : S(1), w.call.width, row);
  }
  if (w.call.map != Map::none) {
    chain_rows(w.call.map, b.queries, b.ld_width, w.chunk.queries, w.call.width, g.d_queries);
  }
  store_d_queries(w, head);
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
  const State<S> before = w.before(w.call.decayed ? head : 0);
  const bool has_keys = w.chunk.keys > 0, has_state = before.sums != nullptr;
  load_query_gradients(w, head);
  const Triangle<S> triangle = triangle_of(w.call, w.item, w.b, head);
  double slope = 0;
  if (has_keys) {
    multiply_score_gradients(w, w.g.values_t);
    if (w.step.d_decay != nullptr) slope += slope_of_chunk(w, head);
    for (long i = 0; i < w.chunk.queries; ++i) w.b.denominators[i] = weigh_row(w, triangle, i);
  }
  if (has_state) {
    if (head == 0 || w.call.decayed) transpose_state(w, before);
    multiply_by_state_t(w, w.g.d_out, w.chunk.queries, w.g.d_before);
    if (w.step.d_decay != nullptr) slope += slope_of_state(w, head);
  }
  if (w.step.d_decay != nullptr) w.step.d_decay[head] += slope;
  if (w.call.normalised) divide(w, triangle, before);
  if (has_keys) pull_back(w, w.g.d_values);
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
    combine_tops(chunk, w.before(0).top, w.b, 0, padded(call.width));
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
  for (long index = 0; index < states_of(call, item); ++index) {
    const State<S> after = w.after_gradient(index);
    const State<S> before = w.before_gradient(index);
    const S whole = call.decayed ? whole_of(call, item, step.chunk, w.b, index) : S(1);
    for (long f = first; f < last; ++f) {
      const S factor = call.map == Map::favor ? w.b.from_before[f] : whole;
      advance_row(w, index, f, factor, 0, call.d_value);
      if (call.normalised) {
        const S own = step.chunk.queries > 0 ? w.g.added_norm[f] : S(0);
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
  const State<S> after = w.after_gradient(head);
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  transpose_state(w, after);
  multiply_by_state_t(w, b.values, keys, g.d_keys_after);
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
  read_sums(w.call, b, features, keys, after.sums, w.call.d_value, g.d_values_after);
  // (For forms without decay the table is that of the decay 1.)
  const S* tail = tail_of(w.call, w.item, w.chunk, b, head);
  add_scaled_rows(g.d_keys_after, b.ld_width, tail, keys, w.call.width, g.d_keys);
  add_scaled_rows(g.d_values_after, b.ld_value, tail, keys, w.call.d_value, g.d_values);
}

/// dk of favor: d w_f.k - |k|^2 / 2 = w_f - k.
template <typename S>
void finish_favor_keys(const Work<S>& w) {
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
  store_rows(g.d_raw, b.ld_key, w.chunk.keys, w.call.d_key, nullptr, static_cast<S>(w.call.key_scale),
             key_rows(w.call, w.item, w.chunk, w.call.dk, w.call.d_key));
}

template <typename S>
void finish_chunk(const Call& call, const Item& item, const Step& step) {
  if (step.chunk.keys == 0) return;
  const Work<S> w(call, item, step);
  if (step.d_after != nullptr) {
    for (long head = 0; head < states_of(call, item); ++head) differentiate_state(w, head);
  }
  store_d_values(w);
  if (call.map == Map::favor) return finish_favor_keys(w);
  if (call.map != Map::none) chain_rows(call.map, w.b.keys, w.b.ld_width, step.chunk.keys, call.width, w.g.d_keys);
  store_d_keys(w);
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
  with_scalar(call, [&](auto s) { bytes = bytes_of<decltype(s), Gradients>(call, item); });
  return bytes;
}

}  // namespace rapt::attention::linear::RAPT_ISA
