/// Backward pass of the gated delta rule, by chunks in reverse. With K, V, Q of a chunk, S the state before it, D the
/// triangle of products of alpha (g those from the start, t those up to the end), b = beta, and P = K S:
///   L_ij = b_i D_ij k_i.k_j (j < i),   U = (1 + L)^-1 b (V - g P),
///   out = (D Q K^T) U + g Q S,         S after = g_n S + K^T (t U).
/// With dO and R the gradients of out and of the state after:
///   dU = (D Q K^T)^T dO + t K R,  dY = (1 + L)^-T dU,  dL = -dY U^T,  dP = -b g dY,  dV = b dY,
///   R before = g_n R + (g Q)^T dO + K^T dP.
#include "attention/linear_delta.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
struct Gradients {
  S* news_t;       ///< [d_value, keys]
  S* state_t;      ///< [d_value, width]: transpose of the state before, or of the gradient of the state after
  S* d_keys;       ///< [keys, width]
  S* d_news;       ///< [keys, d_value]: dU, then dY
  S* d_read;       ///< [keys, d_value]: dP
  S* d_values;     ///< [keys, d_value]
  S* d_out;        ///< [queries, d_value]
  S* d_scores;     ///< [queries, keys]
  S* d_queries;    ///< [queries, width]
  S* d_before;     ///< [queries, width]: dO S^T
  S* added;        ///< [width, d_value]: what the queries add to the gradient of the state before
  S* d_ratios;     ///< [keys, keys]: dD
  S* d_low;        ///< [keys, keys]: dL
  S* ratios_t;     ///< [keys, keys]
  S* d_gamma;      ///< [keys]
  S* d_alpha;      ///< [keys]
  S* d_beta;       ///< [keys]
  S* d_keys_part;  ///< [keys, width]

  void carve(Carver& carver, const Call& call, const Buffers<S>& b) {
    constexpr long rows = Buffers<S>::rows;
    news_t = carver.take<S>(call.d_value * b.ld_chunk);
    state_t = carver.take<S>(call.d_value * b.ld_width);
    for (S** p : {&d_keys, &d_queries, &d_before, &d_keys_part}) *p = carver.take<S>(rows * b.ld_width);
    for (S** p : {&d_news, &d_read, &d_values, &d_out}) *p = carver.take<S>(rows * b.ld_value);
    for (S** p : {&d_scores, &d_ratios, &d_low, &ratios_t}) *p = carver.take<S>(rows * b.ld_chunk);
    added = carver.take<S>(call.width * b.ld_value);
    for (S** p : {&d_gamma, &d_alpha, &d_beta}) *p = carver.take<S>(rows + padding);
  }
};

/// A chunk at work.
template <typename S>
struct Work {
  const Call& call;
  const Item& item;
  const Step& step;
  const Chunk& chunk;
  State<S> before;
  Buffers<S> b;
  Gradients<S> g;

  Work(const Call& c, const Item& i, const Step& s)
      : call(c), item(i), step(s), chunk(s.chunk), before(state_at<S>(c, s.before, 0)), b(c) {
    Carver carver = carver_of(s.memory);
    b.carve(carver, c, i);
    g.carve(carver, c, b);
  }
};

// Of the queries.

/// Weights and the gradient of products from products and dO U^T; what both tell about ratios.
template <typename S>
void weigh_rows(const Work<S>& w) {
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long place = w.chunk.diagonal + i;
    const S* ratios = w.b.ratios + place * w.b.ld_chunk;
    S* d_ratios = w.g.d_ratios + place * w.b.ld_chunk;
    S* scores = w.b.scores + i * w.b.ld_chunk;
    S* d_scores = w.g.d_scores + i * w.b.ld_chunk;
    each_vector<S>(w.chunk.keys, [&](long j) {
      const long seen = at_least(0, place + 1 - j);
      const Vector<S> product = keep_below<S>(load(scores + j), seen);
      const Vector<S> d_weight = keep_below<S>(load(d_scores + j), seen);
      store(load(d_ratios + j) + product * d_weight, d_ratios + j);
      store(product * load(ratios + j), scores + j);
      store(d_weight * load(ratios + j), d_scores + j);
    });
  }
}

/// scores, d_scores, and what follows from them for queries, keys and news.
template <typename S>
void differentiate_chunk(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  multiply_scores(w.call, w.chunk, b);
  multiply(Product<S>{.a = g.d_out,
                      .lda = b.ld_value,
                      .b = g.news_t,
                      .ldb = b.ld_chunk,
                      .c = g.d_scores,
                      .ldc = b.ld_chunk,
                      .rows = w.chunk.queries,
                      .depth = w.call.d_value,
                      .columns = w.chunk.keys,
                      .shape = Shape::lower_result,
                      .diagonal = w.chunk.diagonal});
  weigh_rows(w);
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
  to_keys.c = g.d_news;
  to_keys.columns = w.call.d_value;
  multiply(to_keys);
}

/// What follows from reading the state before the chunk.
template <typename S>
void differentiate_read(const Work<S>& w, long head) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  multiply(Product<S>{.a = g.d_out,
                      .lda = b.ld_value,
                      .b = g.state_t,
                      .ldb = b.ld_width,
                      .c = g.d_before,
                      .ldc = b.ld_width,
                      .rows = w.chunk.queries,
                      .depth = w.call.d_value,
                      .columns = w.call.width});
  const S* gamma = b.gamma + w.chunk.diagonal;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long row = i * b.ld_width;
    g.d_gamma[w.chunk.diagonal + i] += dot(b.queries + row, g.d_before + row, w.call.width);
    add_scaled(g.d_before + row, gamma[i], w.call.width, g.d_queries + row);
  }
  multiply(Product<S>{.a = b.queries_before,
                      .lda = b.ld_width,
                      .b = g.d_out,
                      .ldb = b.ld_value,
                      .c = g.added,
                      .ldc = b.ld_value,
                      .rows = w.call.width,
                      .depth = w.chunk.queries,
                      .columns = w.call.d_value,
                      .transposed = true,
                      .accumulate = head > 0});
}

template <typename S>
void differentiate_queries(Work<S>& w, long head) {
  const Stored dq = query_rows(w.call, w.item, w.chunk, w.call.dq, head, w.call.d_key);
  if (w.chunk.keys > 0) {
    load_queries(w.call, w.item, w.chunk, head, w.b);
    load_rows(query_rows(w.call, w.item, w.chunk, w.call.d_out, head, w.call.d_value), w.chunk.queries, w.call.d_value,
              S(1), w.g.d_out, w.b.ld_value);
    prefetch_query_gradients(w.call, w.item, w.chunk, head + 1);
    differentiate_chunk(w);
    if (w.before.sums != nullptr) differentiate_read(w, head);
  } else {
    clear(w.g.d_queries, w.chunk.queries * w.b.ld_width);
  }
  store_rows(w.g.d_queries, w.b.ld_width, w.chunk.queries, w.call.d_key, nullptr, static_cast<S>(w.call.query_scale),
             dq);
}

template <typename S>
void prepare_keys(Work<S>& w) {
  Buffers<S>& b = w.b;
  load_keys(w.call, w.item, w.chunk, b, true);
  load_values(w.call, w.item, w.chunk, b);
  load_delta(w.call, w.item, w.chunk, b);
  write_news(w.call, w.chunk, w.before, b, 0, w.call.d_value);
  transpose(b.news, b.ld_value, w.chunk.keys, w.call.d_value, w.g.news_t, b.ld_chunk);
  if (w.before.sums != nullptr) {
    transpose(w.before.sums, b.ld_value, w.call.width, w.call.d_value, w.g.state_t, b.ld_width);
  }
  clear(w.g.d_keys, w.chunk.keys * b.ld_width);
  clear(w.g.d_news, w.chunk.keys * b.ld_value);
  clear(w.g.d_ratios, w.chunk.keys * b.ld_chunk);
  clear(w.g.d_gamma, w.chunk.keys);
}

template <typename S>
void prepare_chunk(const Call& call, const Item& item, const Step& step) {
  Work<S> w(call, item, step);
  prefetch_gradients(call, item, step.chunk);
  if (step.chunk.keys > 0) prepare_keys(w);
  if (step.chunk.queries == 0) return;
  for (long head = 0; head < item.heads; ++head) differentiate_queries(w, head);
}

// Of the state.

/// x = (1 - minus_low)^-T x in place: every row takes up what the rows after it have become.
template <typename S>
void solve_transposed(const Buffers<S>& b, long rows, S* x, long columns) {
  for (long first = (rows - 1) / solve_rows * solve_rows; first >= 0; first -= solve_rows) {
    const long count = at_most(solve_rows, rows - first), end = first + count;
    S* block = x + first * b.ld_value;
    if (end < rows) {
      multiply(Product<S>{.a = b.minus_low + end * b.ld_chunk + first,
                          .lda = b.ld_chunk,
                          .b = x + end * b.ld_value,
                          .ldb = b.ld_value,
                          .c = block,
                          .ldc = b.ld_value,
                          .rows = count,
                          .depth = rows - end,
                          .columns = columns,
                          .transposed = true,
                          .accumulate = true});
    }
    for (long j = count - 2; j >= 0; --j) {
      for (long i = j + 1; i < count; ++i) {
        add_scaled(block + i * b.ld_value, b.minus_low[(first + i) * b.ld_chunk + first + j], columns,
                   block + j * b.ld_value);
      }
    }
  }
}

/// Columns [first, last) of the gradient of the state before the chunk.
template <typename S>
void advance_state(const Work<S>& w, long first, long last) {
  const Buffers<S>& b = w.b;
  const long columns = last - first;
  const State<S> after = state_at<S>(w.call, w.step.d_after, 0);
  const State<S> before = state_at<S>(w.call, w.step.d_before, 0);
  const S whole = b.gamma[w.chunk.keys - 1];
  for (long f = 0; f < w.call.width; ++f) {
    const long row = f * b.ld_value + first;
    each_vector<S>(columns, [&](long i) {
      Vector<S> x = w.chunk.queries > 0 ? load(w.g.added + row + i) : Vector<S>{};
      if (after.sums != nullptr) x = load(after.sums + row + i) * whole + x;
      store(x, before.sums + row + i);
    });
  }
  multiply(Product<S>{.a = b.keys_t,
                      .lda = b.ld_chunk,
                      .b = w.g.d_read + first,
                      .ldb = b.ld_value,
                      .c = before.sums + first,
                      .ldc = b.ld_value,
                      .rows = w.call.width,
                      .depth = w.chunk.keys,
                      .columns = columns,
                      .accumulate = true});
}

/// Columns [first, last) of dY and dP, then of the state.
template <typename S>
void advance_chunk(const Call& call, const Item& item, const Step& step, long first, long last) {
  if (step.chunk.keys == 0) return;
  const Work<S> w(call, item, step);
  const Buffers<S>& b = w.b;
  const long columns = last - first, keys = w.chunk.keys;
  const State<S> after = state_at<S>(call, step.d_after, 0);
  if (after.sums != nullptr) {
    multiply(Product<S>{.a = b.keys,
                        .lda = b.ld_width,
                        .b = after.sums + first,
                        .ldb = b.ld_value,
                        .c = b.weighted + first,
                        .ldc = b.ld_value,
                        .rows = keys,
                        .depth = call.width,
                        .columns = columns});
    add_scaled_rows(b.weighted + first, b.ld_value, b.tail, keys, columns, w.g.d_news + first);
  }
  solve_transposed(b, keys, w.g.d_news + first, columns);
  for (long j = 0; j < keys; ++j) {
    const long row = j * b.ld_value + first;
    scale_into(w.g.d_news + row, -b.beta[j] * b.gamma[j], columns, w.g.d_read + row);
  }
  if (step.d_before != nullptr) advance_state(w, first, last);
}

// Of the keys.

/// dL, and what follows from it for beta, ratios and keys.
template <typename S>
void differentiate_low(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  multiply(Product<S>{.a = g.d_news,
                      .lda = b.ld_value,
                      .b = g.news_t,
                      .ldb = b.ld_chunk,
                      .c = g.d_low,
                      .ldc = b.ld_chunk,
                      .rows = keys,
                      .depth = w.call.d_value,
                      .columns = keys,
                      .shape = Shape::lower_result});
  for (long i = 0; i < keys; ++i) {
    const long row = i * b.ld_chunk;
    Vector<S> d_beta = {};
    each_vector<S>(keys, [&](long j) {
      const Vector<S> d_low = -keep_below<S>(load(g.d_low + row + j), at_least(0, i - j));
      const Vector<S> product = load(b.products + row + j);
      const Vector<S> ratio = load(b.ratios + row + j);
      d_beta += d_low * ratio * product;
      store(load(g.d_ratios + row + j) + d_low * product * b.beta[i], g.d_ratios + row + j);
      store(d_low * ratio * b.beta[i], g.d_low + row + j);
    });
    g.d_beta[i] = sum(d_beta);
  }
  Product<S> to_keys{.a = g.d_low,
                     .lda = b.ld_chunk,
                     .b = b.keys,
                     .ldb = b.ld_width,
                     .c = g.d_keys,
                     .ldc = b.ld_width,
                     .rows = keys,
                     .depth = keys,
                     .columns = w.call.width,
                     .accumulate = true,
                     .shape = Shape::lower_left};
  multiply(to_keys);
  to_keys.transposed = true;
  to_keys.shape = Shape::upper_left;
  multiply(to_keys);
}

/// What follows from dY for values, gates and, through what keys read, for keys.
template <typename S>
void differentiate_news(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  for (long j = 0; j < w.chunk.keys; ++j) {
    const long row = j * b.ld_value;
    const S read = dot(g.d_news + row, b.read + row, w.call.d_value);
    g.d_beta[j] += dot(g.d_news + row, b.values + row, w.call.d_value) - b.gamma[j] * read;
    g.d_gamma[j] -= b.beta[j] * read;
    scale_into(g.d_news + row, b.beta[j], w.call.d_value, g.d_values + row);
  }
  if (w.before.sums == nullptr) return;
  multiply(Product<S>{.a = g.d_read,
                      .lda = b.ld_value,
                      .b = g.state_t,
                      .ldb = b.ld_width,
                      .c = g.d_keys,
                      .ldc = b.ld_width,
                      .rows = w.chunk.keys,
                      .depth = w.call.d_value,
                      .columns = w.call.width,
                      .accumulate = true});
}

/// What follows from the gradient of the state after the chunk for keys and decays.
template <typename S>
void differentiate_state(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  const State<S> after = state_at<S>(w.call, w.step.d_after, 0);
  transpose(after.sums, b.ld_value, w.call.width, w.call.d_value, g.state_t, b.ld_width);
  multiply(Product<S>{.a = b.news,
                      .lda = b.ld_value,
                      .b = g.state_t,
                      .ldb = b.ld_width,
                      .c = g.d_keys_part,
                      .ldc = b.ld_width,
                      .rows = keys,
                      .depth = w.call.d_value,
                      .columns = w.call.width});
  S* d_tail = g.d_ratios + (keys - 1) * b.ld_chunk;
  for (long j = 0; j < keys; ++j) {
    d_tail[j] += dot(b.keys + j * b.ld_width, g.d_keys_part + j * b.ld_width, w.call.width);
  }
  add_scaled_rows(g.d_keys_part, b.ld_width, b.tail, keys, w.call.width, g.d_keys);
  if (w.before.sums == nullptr) return;
  for (long f = 0; f < w.call.width; ++f) {
    const long row = f * b.ld_value;
    g.d_gamma[keys - 1] += dot(w.before.sums + row, after.sums + row, w.call.d_value);
  }
}

/// d_alpha from the gradients of its products, which are ratios D and gamma: alpha_l is a factor of D_ij for
/// j < l <= i, so d_alpha_l = sum_(i >= l) D_il sum_(j < l) dD_ij D_(l-1)j, and gamma is a column before the first.
/// Nothing is divided by alpha, which may be 0.
template <typename S>
void differentiate_gates(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  transpose(b.ratios, b.ld_chunk, keys, keys, g.ratios_t, b.ld_chunk);
  multiply(Product<S>{.a = g.d_ratios,
                      .lda = b.ld_chunk,
                      .b = g.ratios_t,
                      .ldb = b.ld_chunk,
                      .c = g.d_low,
                      .ldc = b.ld_chunk,
                      .rows = keys,
                      .depth = keys,
                      .columns = keys,
                      .shape = Shape::lower_left});
  clear(g.d_alpha, keys);
  for (long i = 0; i < keys; ++i) {
    const S* ratios = b.ratios + i * b.ld_chunk;
    const S* inner = g.d_low + i * b.ld_chunk;
    g.d_alpha[0] += ratios[0] * g.d_gamma[i];
    for (long l = 1; l <= i; ++l) g.d_alpha[l] += ratios[l] * (inner[l - 1] + g.d_gamma[i] * b.gamma[l - 1]);
  }
}

template <typename S>
void store_gates(const Work<S>& w, const S* gates, const Operand& operand) {
  if (operand.data == nullptr) return;
  const long token = w.item.key_begin + w.chunk.first_key;
  S* result = static_cast<S*>(operand.data) + token * operand.stride + w.item.kv_head;
  for (long j = 0; j < w.chunk.keys; ++j) result[j * operand.stride] = gates[j];
}

template <typename S>
void finish_chunk(const Call& call, const Item& item, const Step& step) {
  if (step.chunk.keys == 0) return;
  const Work<S> w(call, item, step);
  differentiate_low(w);
  differentiate_news(w);
  if (step.d_after != nullptr) differentiate_state(w);
  differentiate_gates(w);
  const long keys = step.chunk.keys;
  store_rows(w.g.d_keys, w.b.ld_width, keys, call.d_key, nullptr, S(1),
             key_rows(call, item, step.chunk, call.dk, call.d_key));
  store_rows(w.g.d_values, w.b.ld_value, keys, call.d_value, nullptr, S(1),
             key_rows(call, item, step.chunk, call.dv, call.d_value));
  store_gates(w, w.g.d_alpha, call.d_alpha);
  store_gates(w, w.g.d_beta, call.d_beta);
}

template <typename S>
std::int64_t bytes_of(const Call& call, const Item& item) {
  Buffers<S> b(call);
  Carver carver{0};
  b.carve(carver, call, item);
  Gradients<S>().carve(carver, call, b);
  return static_cast<std::int64_t>(carver.used);
}

}  // namespace

void prepare_delta_backward(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { prepare_chunk<decltype(s)>(call, item, step); });
}
void advance_delta_backward(const Call& call, const Item& item, const Step& step, std::int32_t first,
                            std::int32_t last) {
  with_scalar(call, [&](auto s) { advance_chunk<decltype(s)>(call, item, step, first, last); });
}
void finish_delta_backward(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { finish_chunk<decltype(s)>(call, item, step); });
}
std::int64_t bytes_of_delta_backward(const Call& call, const Item& item) {
  std::int64_t bytes = 0;
  with_scalar(call, [&](auto s) { bytes = bytes_of<decltype(s)>(call, item); });
  return bytes;
}

}  // namespace rapt::attention::linear::RAPT_ISA
