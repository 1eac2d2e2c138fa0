/// What the backward pass of the forms that add up and that of the delta rule share: a chunk at work, and the products
/// its gradients come from. Included by linear_*_backward.isa.cpp only, everything has internal linkage (see
/// kernels/simd.h).
#pragma once

#include "attention/linear_chunk.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// Gradients of a chunk that every form has.
template <typename S>
struct ChunkGradients {
  S* state_t = nullptr;    ///< [d_value, width]: transpose of a state, or of the gradient of one
  S* d_keys = nullptr;     ///< [keys, width]
  S* d_values = nullptr;   ///< [keys, d_value]
  S* d_out = nullptr;      ///< [queries, d_value]
  S* d_scores = nullptr;   ///< [queries, keys]: of the weights, then of the products
  S* d_queries = nullptr;  ///< [queries, width]
  S* d_before = nullptr;   ///< [queries, width]: of what queries read the state before with
  S* added = nullptr;      ///< [states, width, d_value]: what the queries add to the gradient of the state before

  void carve_common(Carver& carver, const Call& call, const Item& item, const Buffers<S>& b) {
    constexpr long rows = Buffers<S>::rows;
    state_t = carver.take<S>(call.d_value * b.ld_width);
    for (S** p : {&d_keys, &d_queries, &d_before}) *p = carver.take<S>(rows * b.ld_width);
    for (S** p : {&d_values, &d_out}) *p = carver.take<S>(rows * b.ld_value);
    d_scores = carver.take<S>(rows * b.ld_chunk);
    added = carver.take<S>(states_of(call, item) * call.width * b.ld_value);
  }
};

/// A chunk at work. Form is the ChunkGradients of a form, with a member carve(Carver&, call, item, buffers).
template <typename S, template <typename> typename Form>
struct BackwardWork {
  const Call& call;
  const Item& item;
  const Step& step;
  const Chunk& chunk;
  Buffers<S> b;
  Form<S> g;

  BackwardWork(const Call& c, const Item& i, const Step& s) : call(c), item(i), step(s), chunk(s.chunk), b(c) {
    Carver carver = carver_of(s.memory);
    carve(carver);
  }
  void carve(Carver& carver) {
    b.carve(carver, call, item);
    g.carve(carver, call, item, b);
  }
  State<S> before(long index) const { return state_at<S>(call, step.before, index); }
  State<S> after_gradient(long index) const { return state_at<S>(call, step.d_after, index); }
  State<S> before_gradient(long index) const { return state_at<S>(call, step.d_before, index); }
};

/// Bytes that a chunk at work takes.
template <typename S, template <typename> typename Form>
RAPT_INLINE std::int64_t bytes_of(const Call& call, const Item& item) {
  const Step nowhere;
  Carver carver{0};
  BackwardWork<S, Form>(call, item, nowhere).carve(carver);
  return static_cast<std::int64_t>(carver.used);
}

/// queries, queries_before and d_out of head `head` of the item.
template <typename S, template <typename> typename Form>
RAPT_INLINE void load_query_gradients(BackwardWork<S, Form>& w, long head) {
  load_queries(w.call, w.item, w.chunk, head, w.b);
  load_rows(query_rows(w.call, w.item, w.chunk, w.call.d_out, head, w.call.d_value), w.chunk.queries, w.call.d_value,
            S(1), w.g.d_out, w.b.ld_value);
  prefetch_query_gradients(w.call, w.item, w.chunk, head + 1);
}

/// scores, and d_scores = dO X^T: the gradients of the weights, on and below the diagonal. X: [keys, d_value], what the
/// queries read of the chunk.
template <typename S, template <typename> typename Form>
RAPT_INLINE void multiply_score_gradients(const BackwardWork<S, Form>& w, const S* x_t) {
  multiply_scores(w.call, w.chunk, w.b);
  multiply(Product<S>{.a = {w.g.d_out, w.b.ld_value},
                      .b = {x_t, w.b.ld_chunk},
                      .c = {w.g.d_scores, w.b.ld_chunk},
                      .rows = w.chunk.queries,
                      .depth = w.call.d_value,
                      .columns = w.chunk.keys,
                      .shape = Shape::lower_result,
                      .diagonal = w.chunk.diagonal});
}

/// From weights and the gradients of products to d_queries, and the parts of d_keys and of the gradient `d_x` of X
/// within the chunk.
template <typename S, template <typename> typename Form>
RAPT_INLINE void pull_back(const BackwardWork<S, Form>& w, S* d_x) {
  const Buffers<S>& b = w.b;
  const Form<S>& g = w.g;
  multiply(Product<S>{.a = {g.d_scores, b.ld_chunk},
                      .b = {b.keys, b.ld_width},
                      .c = {g.d_queries, b.ld_width},
                      .rows = w.chunk.queries,
                      .depth = w.chunk.keys,
                      .columns = w.call.width,
                      .shape = Shape::lower_left,
                      .diagonal = w.chunk.diagonal});
  Product<S> to_keys{.a = {g.d_scores, b.ld_chunk},
                     .b = {b.queries, b.ld_width},
                     .c = {g.d_keys, b.ld_width},
                     .rows = w.chunk.keys,
                     .depth = w.chunk.queries,
                     .columns = w.call.width,
                     .transposed = true,
                     .accumulate = true,
                     .shape = Shape::upper_left,
                     .diagonal = w.chunk.diagonal};
  multiply(to_keys);
  to_keys.a = {b.scores, b.ld_chunk};
  to_keys.b = {g.d_out, b.ld_value};
  to_keys.c = {d_x, b.ld_value};
  to_keys.columns = w.call.d_value;
  multiply(to_keys);
}

/// state_t of a state, or of the gradient of one.
template <typename S, template <typename> typename Form>
RAPT_INLINE void transpose_state(const BackwardWork<S, Form>& w, const State<S>& state) {
  transpose(state.sums, w.b.ld_value, w.call.width, w.call.d_value, w.g.state_t, w.b.ld_width);
}
/// result [rows, width] (+)= x state^T, by state_t. x: [rows, d_value].
template <typename S, template <typename> typename Form>
RAPT_INLINE void multiply_by_state_t(const BackwardWork<S, Form>& w, const S* x, long rows, S* result,
                                     bool accumulate = false) {
  multiply(Product<S>{.a = {x, w.b.ld_value},
                      .b = {w.g.state_t, w.b.ld_width},
                      .c = {result, w.b.ld_width},
                      .rows = rows,
                      .depth = w.call.d_value,
                      .columns = w.call.width,
                      .accumulate = accumulate});
}

/// What the queries of a head add to the gradient of state `index` before the chunk.
template <typename S, template <typename> typename Form>
RAPT_INLINE void pull_back_state(const BackwardWork<S, Form>& w, long index, bool accumulate) {
  const Buffers<S>& b = w.b;
  multiply(Product<S>{.a = {b.queries_before, b.ld_width},
                      .b = {w.g.d_out, b.ld_value},
                      .c = {w.g.added + index * w.call.width * b.ld_value, b.ld_value},
                      .rows = w.call.width,
                      .depth = w.chunk.queries,
                      .columns = w.call.d_value,
                      .transposed = true,
                      .accumulate = accumulate});
}

/// Row f of the gradient of state `index` before the chunk, columns [first, last): that of the state after times
/// `factor`, and what the queries add.
template <typename S, template <typename> typename Form>
RAPT_INLINE void advance_row(const BackwardWork<S, Form>& w, long index, long f, S factor, long first, long last) {
  const S* after = w.after_gradient(index).sums;
  S* before = w.before_gradient(index).sums;
  const S* added = w.g.added + index * w.call.width * w.b.ld_value;
  const long row = f * w.b.ld_value + first;
  each_vector<S>(last - first, [&](long i) {
    Vector<S> x = w.chunk.queries > 0 ? load(added + row + i) : Vector<S>{};
    if (after != nullptr) x = load(after + row + i) * factor + x;
    store(x, before + row + i);
  });
}

template <typename S, template <typename> typename Form>
RAPT_INLINE void store_d_queries(const BackwardWork<S, Form>& w, long head) {
  store_rows(w.g.d_queries, w.b.ld_width, w.chunk.queries, w.call.d_key, nullptr, static_cast<S>(w.call.query_scale),
             query_rows(w.call, w.item, w.chunk, w.call.dq, head, w.call.d_key));
}
template <typename S, template <typename> typename Form>
RAPT_INLINE void store_d_keys(const BackwardWork<S, Form>& w) {
  store_rows(w.g.d_keys, w.b.ld_width, w.chunk.keys, w.call.d_key, nullptr, static_cast<S>(w.call.key_scale),
             key_rows(w.call, w.item, w.chunk, w.call.dk, w.call.d_key));
}
template <typename S, template <typename> typename Form>
RAPT_INLINE void store_d_values(const BackwardWork<S, Form>& w) {
  store_rows(w.g.d_values, w.b.ld_value, w.chunk.keys, w.call.d_value, nullptr, S(1),
             key_rows(w.call, w.item, w.chunk, w.call.dv, w.call.d_value));
}

}  // namespace
}  // namespace rapt::attention::linear::RAPT_ISA
