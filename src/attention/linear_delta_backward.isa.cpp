/// Backward pass of the gated delta rule, by chunks in reverse. With K, V, Q of a chunk, S the state before it, D the
/// triangle of products of alpha (g those from the start, t those up to the end), b = beta, and P = K S:
///   L_ij = b_i D_ij k_i.k_j (j < i),   U = (1 + L)^-1 b (V - g P),
///   out = (D Q K^T) U + g Q S,         S after = g_n S + K^T (t U).
/// With dO and R the gradients of out and of the state after:
///   dU = (D Q K^T)^T dO + t K R,  dY = (1 + L)^-T dU,  dL = -dY U^T,  dP = -b g dY,  dV = b dY,
///   R before = g_n R + (g Q)^T dO + K^T dP.
#include "attention/linear_delta.h"
#include "attention/linear_gradients.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

template <typename S>
struct Gradients : ChunkGradients<S> {
  S* news_t;       ///< [d_value, keys]
  S* d_news;       ///< [keys, d_value]: dU, then dY
  S* d_read;       ///< [keys, d_value]: dP
  S* d_ratios;     ///< [keys, keys]: dD
  S* d_low;        ///< [keys, keys]: dL
  S* ratios_t;     ///< [keys, keys]
  S* d_gamma;      ///< [keys]
  S* d_alpha;      ///< [keys]
  S* d_beta;       ///< [keys]
  S* d_keys_part;  ///< [keys, width]

  void carve(Carver& carver, const Call& call, const Item& item, const Buffers<S>& b) {
    constexpr long rows = Buffers<S>::rows;
    this->carve_common(carver, call, item, b);
    news_t = carver.take<S>(call.d_value * b.ld_chunk);
    for (S** p : {&d_news, &d_read}) *p = carver.take<S>(rows * b.ld_value);
    for (S** p : {&d_ratios, &d_low, &ratios_t}) *p = carver.take<S>(rows * b.ld_chunk);
    for (S** p : {&d_gamma, &d_alpha, &d_beta}) *p = carver.take<S>(rows + padding);
    d_keys_part = carver.take<S>(rows * b.ld_width);
  }
};
template <typename S>
using Work = BackwardWork<S, Gradients>;

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

/// What follows from reading the state before the chunk.
template <typename S>
void differentiate_read(const Work<S>& w, long head) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  multiply_by_state_t(w, g.d_out, w.chunk.queries, g.d_before);
  const S* gamma = b.gamma + w.chunk.diagonal;
  for (long i = 0; i < w.chunk.queries; ++i) {
    const long row = i * b.ld_width;
    g.d_gamma[w.chunk.diagonal + i] += dot(b.queries + row, g.d_before + row, w.call.width);
    add_scaled(g.d_before + row, gamma[i], w.call.width, g.d_queries + row);
  }
  pull_back_state(w, 0, head > 0);
}

template <typename S>
void differentiate_queries(Work<S>& w, long head) {
  if (w.chunk.keys > 0) {
    load_query_gradients(w, head);
    multiply_score_gradients(w, w.g.news_t);
    weigh_rows(w);
    pull_back(w, w.g.d_news);
    if (w.before(0).sums != nullptr) differentiate_read(w, head);
  } else {
    clear(w.g.d_queries, w.chunk.queries * w.b.ld_width);
  }
  store_d_queries(w, head);
}

template <typename S>
void prepare_keys(Work<S>& w) {
  Buffers<S>& b = w.b;
  const State<S> before = w.before(0);
  load_keys(w.call, w.item, w.chunk, b, true);
  load_values(w.call, w.item, w.chunk, b);
  load_delta(w.call, w.item, w.chunk, b);
  write_news(w.call, w.chunk, before, b, 0, w.call.d_value);
  transpose(b.news, b.ld_value, w.chunk.keys, w.call.d_value, w.g.news_t, b.ld_chunk);
  if (before.sums != nullptr) transpose_state(w, before);
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
      multiply(Product<S>{.a = {b.minus_low + end * b.ld_chunk + first, b.ld_chunk},
                          .b = {x + end * b.ld_value, b.ld_value},
                          .c = {block, b.ld_value},
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
  const S whole = b.gamma[w.chunk.keys - 1];
  for (long f = 0; f < w.call.width; ++f) advance_row(w, 0, f, whole, first, last);
  add_to_sums(w.call, w.chunk, b, w.g.d_read + first, last - first, w.before_gradient(0).sums + first, true);
}

/// Columns [first, last) of dY and dP, then of the state.
template <typename S>
void advance_chunk(const Call& call, const Item& item, const Step& step, long first, long last) {
  if (step.chunk.keys == 0) return;
  const Work<S> w(call, item, step);
  const Buffers<S>& b = w.b;
  const long columns = last - first, keys = w.chunk.keys;
  const State<S> after = w.after_gradient(0);
  if (after.sums != nullptr) {
    read_sums(call, b, b.keys, keys, after.sums + first, columns, b.weighted + first);
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
  multiply(Product<S>{.a = {g.d_news, b.ld_value},
                      .b = {g.news_t, b.ld_chunk},
                      .c = {g.d_low, b.ld_chunk},
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
  Product<S> to_keys{.a = {g.d_low, b.ld_chunk},
                     .b = {b.keys, b.ld_width},
                     .c = {g.d_keys, b.ld_width},
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
  if (w.before(0).sums != nullptr) multiply_by_state_t(w, g.d_read, w.chunk.keys, g.d_keys, true);
}

/// What follows from the gradient of the state after the chunk for keys and decays.
template <typename S>
void differentiate_state(const Work<S>& w) {
  const Buffers<S>& b = w.b;
  const Gradients<S>& g = w.g;
  const long keys = w.chunk.keys;
  const State<S> before = w.before(0), after = w.after_gradient(0);
  transpose_state(w, after);
  multiply_by_state_t(w, b.news, keys, g.d_keys_part);
  S* d_tail = g.d_ratios + (keys - 1) * b.ld_chunk;
  for (long j = 0; j < keys; ++j) {
    d_tail[j] += dot(b.keys + j * b.ld_width, g.d_keys_part + j * b.ld_width, w.call.width);
  }
  add_scaled_rows(g.d_keys_part, b.ld_width, b.tail, keys, w.call.width, g.d_keys);
  if (before.sums == nullptr) return;
  for (long f = 0; f < w.call.width; ++f) {
    const long row = f * b.ld_value;
    g.d_gamma[keys - 1] += dot(before.sums + row, after.sums + row, w.call.d_value);
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
  multiply(Product<S>{.a = {g.d_ratios, b.ld_chunk},
                      .b = {g.ratios_t, b.ld_chunk},
                      .c = {g.d_low, b.ld_chunk},
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
  store_d_keys(w);
  store_d_values(w);
  store_gates(w, w.g.d_alpha, call.d_alpha);
  store_gates(w, w.g.d_beta, call.d_beta);
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
  with_scalar(call, [&](auto s) { bytes = bytes_of<decltype(s), Gradients>(call, item); });
  return bytes;
}

}  // namespace rapt::attention::linear::RAPT_ISA
