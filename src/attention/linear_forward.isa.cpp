/// Forward pass of the linear forms by chunks. With phi(Q), phi(K) the features of a chunk, V its values, S the state
/// before it, G the triangle of decays within it and a, b the decays from before it and up to its end:
///   out = (G phi(Q) phi(K)^T) V + a phi(Q) S,   S after = (all of a) S + phi(K)^T (b V).
/// The delta rule is the same with V replaced by what it writes (linear_delta.h: write_news).
#include "attention/linear_delta.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

// Preparing.

/// added[state] = phi(K)^T (tail V), and the sums of features.
template <typename S>
void add_up(const Call& call, const Item& item, const Chunk& chunk, Buffers<S>& b) {
  for (long state = 0; state < states_of(call, item); ++state) {
    const S* values = b.values;
    if (call.decayed) {
      scale_rows(b.values, b.ld_value, tail_of(call, item, chunk, b, state), chunk.keys, call.d_value, b.weighted);
      values = b.weighted;
    }
    add_to_sums(call, chunk, b, values, call.d_value, b.added + state * call.width * b.ld_value, false);
  }
  if (!call.normalised) return;
  for (long f = 0; f < call.width; ++f) {
    Vector<S> total = {};
    // Columns after the last key are 0 for favor only.
    each_vector<S>(chunk.keys,
                   [&](long j) { total += keep_below<S>(load(b.keys_t + f * b.ld_chunk + j), chunk.keys - j); });
    b.added_norm[f] = sum(total);
  }
}

void prefetch_head(const Call& call, const Item& item, const Chunk& chunk, long head) {
  prefetch_queries(call, item, chunk, call.q, head, call.d_key, false);
  prefetch_queries(call, item, chunk, call.out, head, call.d_value, true);
}

template <typename S>
void prepare_chunk(const Call& call, const Item& item, const Step& step) {
  if (step.chunk.keys == 0) return;
  // (The backward pass calls this for its states, without an output.)
  if (call.out.data != nullptr) prefetch_head(call, item, step.chunk, 0);
  Buffers<S> b = buffers_of<S>(call, item, step);
  prefetch_keys(call, item, step.chunk.first_key + step.chunk.keys);
  load_keys(call, item, step.chunk, b, false);
  load_values(call, item, step.chunk, b);
  if (call.delta) {
    load_delta(call, item, step.chunk, b);
  } else if (step.after != nullptr) {
    add_up(call, item, step.chunk, b);
  }
}

// Advancing.

/// Rows [first, last) of the state after the chunk, for the forms that add up.
template <typename S>
void advance_sums(const Call& call, const Item& item, const Step& step, const Buffers<S>& b, long first, long last) {
  for (long index = 0; index < states_of(call, item); ++index) {
    const State<S> before = state_at<S>(call, step.before, index);
    const State<S> after = state_at<S>(call, step.after, index);
    const bool favor = call.map == Map::favor;
    if (favor) {
      combine_tops(step.chunk, before.top, b, first, padded(last));
      each_vector<S>(padded(last) - first,
                     [&](long f) { store(load(b.top_after + first + f), after.top + first + f); });
    }
    const S whole = call.decayed ? whole_of(call, item, step.chunk, b, index) : S(1);
    const S* added = b.added + index * call.width * b.ld_value;
    for (long f = first; f < last; ++f) {
      const S old_factor = favor ? b.from_before[f] : whole;
      const S new_factor = favor ? b.from_chunk[f] : S(1);
      const long row = f * b.ld_value;
      each_vector<S>(call.d_value, [&](long i) {
        Vector<S> x = load(added + row + i) * new_factor;
        if (before.sums != nullptr) x = load(before.sums + row + i) * old_factor + x;
        store(x, after.sums + row + i);
      });
      if (call.normalised) {
        const S old_norm = before.norm != nullptr ? before.norm[f] * old_factor : S(0);
        after.norm[f] = old_norm + b.added_norm[f] * new_factor;
      }
    }
    if (call.normalised && last == call.width) clear(after.norm + last, padded(last) - last);
  }
}

/// Columns [first, last) of the state after the chunk, for the delta rule; and what the chunk writes.
template <typename S>
void advance_delta(const Call& call, const Item& item, const Step& step, const Buffers<S>& b, long first, long last) {
  const Chunk& chunk = step.chunk;
  const State<S> before = state_at<S>(call, step.before, 0);
  write_news(call, chunk, before, b, first, last);
  if (step.after == nullptr) return;
  const State<S> after = state_at<S>(call, step.after, 0);
  const long columns = last - first;
  scale_rows(b.news + first, b.ld_value, b.tail, chunk.keys, columns, b.weighted + first);
  const S whole = whole_of(call, item, chunk, b, 0);
  if (before.sums != nullptr) {
    for (long f = 0; f < call.width; ++f) {
      scale_into(before.sums + f * b.ld_value + first, whole, columns, after.sums + f * b.ld_value + first);
    }
  }
  add_to_sums(call, chunk, b, b.weighted + first, columns, after.sums + first, before.sums != nullptr);
}

// The output.

/// What queries see of their own chunk: sums = (G scores) V, and the sums of weights.
template <typename S>
void read_chunk(const Call& call, const Item& item, const Chunk& chunk, const Buffers<S>& b, long head) {
  multiply_scores(call, chunk, b);
  const Triangle<S> triangle = triangle_of(call, item, b, head);
  for (long i = 0; i < chunk.queries; ++i) {
    S* scores = b.scores + i * b.ld_chunk;
    const S* factors = triangle.row(chunk.diagonal + i);
    Vector<S> total = {};
    each_vector<S>(chunk.keys, [&](long j) {
      const Vector<S> factor = load(factors + j);
      const Vector<S> weight = factor == Vector<S>{} ? Vector<S>{} : load(scores + j) * factor;
      total += weight;
      store(weight, scores + j);
    });
    if (call.normalised) b.denominators[i] = sum(total);
  }
  multiply(Product<S>{.a = {b.scores, b.ld_chunk},
                      .b = {call.delta ? b.news : b.values, b.ld_value},
                      .c = {b.sums, b.ld_value},
                      .rows = chunk.queries,
                      .depth = chunk.keys,
                      .columns = call.d_value,
                      .shape = Shape::lower_left,
                      .diagonal = chunk.diagonal});
}

/// Adds what queries read from the state before the chunk.
template <typename S>
void read_state(const Call& call, const Chunk& chunk, const Buffers<S>& b, const State<S>& before) {
  read_sums(call, b, b.queries_before, chunk.queries, before.sums, call.d_value, b.sums, chunk.keys > 0);
  if (!call.normalised) return;
  for (long i = 0; i < chunk.queries; ++i) {
    const S norm = dot(b.queries_before + i * b.ld_width, before.norm, call.width);
    b.denominators[i] = chunk.keys > 0 ? b.denominators[i] + norm : norm;
  }
}

/// The logarithms of the denominators.
template <typename S>
void store_log_sum_exp(const Call& call, const Item& item, const Chunk& chunk, const Buffers<S>& b, long head) {
  S* result = static_cast<S*>(call.log_sum_exp);
  for (long i = 0; i < chunk.queries; ++i) {
    const bool relative = call.map == Map::favor && b.denominators[i] != 0;
    const double missing = relative ? missing_log(call, b.raw_queries + i * b.ld_key, b.query_tops[i]) : 0;
    result[row_index(call, item, chunk.first_query + i, head)] = log_of(b.denominators[i], missing);
  }
}

template <typename S>
void output_head(const Call& call, const Item& item, const Step& step, Buffers<S>& b, long head) {
  const Chunk& chunk = step.chunk;
  const State<S> before = state_at<S>(call, step.before, call.decayed ? head : 0);
  const Stored out = query_rows(call, item, chunk, call.out, head, call.d_value);
  if (chunk.keys == 0 && before.sums == nullptr) {
    clear(b.denominators, chunk.queries);
    if (call.log_sum_exp != nullptr) store_log_sum_exp(call, item, chunk, b, head);
    for (long i = 0; i < chunk.queries; ++i) clear(b.sums + i * b.ld_value, padded(call.d_value));
    return store_rows(b.sums, b.ld_value, chunk.queries, call.d_value, nullptr, S(1), out);
  }
  load_queries(call, item, chunk, head, b);
  prefetch_head(call, item, chunk, head + 1);
  if (chunk.keys > 0) read_chunk(call, item, chunk, b, head);
  if (before.sums != nullptr) read_state(call, chunk, b, before);
  if (call.log_sum_exp != nullptr) store_log_sum_exp(call, item, chunk, b, head);
  if (call.normalised) invert(b.denominators, chunk.queries);
  store_rows(b.sums, b.ld_value, chunk.queries, call.d_value, call.normalised ? b.denominators : nullptr, S(1), out);
}

template <typename S>
void output_chunk(const Call& call, const Item& item, const Step& step) {
  if (step.chunk.queries == 0) return;
  Buffers<S> b = buffers_of<S>(call, item, step);
  if (call.map == Map::favor) {
    combine_tops(step.chunk, state_at<S>(call, step.before, 0).top, b, 0, padded(call.width));
  }
  for (long head = 0; head < item.heads; ++head) output_head(call, item, step, b, head);
}

// States of the caller.

template <typename S>
void import_any(const Call& call, const Item& item, const S* from, void* to) {
  const long ld = leading(call.d_value);
  for (long index = 0; index < states_of(call, item); ++index) {
    const State<S> state = state_at<S>(call, to, index);
    const Stored rows{scalar_type<S>, const_cast<S*>(from), call.d_value};
    load_rows(rows, call.width, call.d_value, S(1), state.sums, ld);
    from += long{call.width} * call.d_value;
    if (call.normalised) {
      clear(state.norm, padded(call.width));
      memcpy(state.norm, from, sizeof(S) * static_cast<unsigned long>(call.width));
      from += call.width;
    }
    if (call.map == Map::favor) {
      fill(state.top, padded(call.width), -infinity<S>);
      // A direction that has seen keys holds e^0 of one of them at the least.
      for (long f = 0; f < call.width; ++f) {
        if (state.norm[f] != 0) state.top[f] = from[f];
      }
      from += call.width;
    }
  }
}

template <typename S>
void export_any(const Call& call, const Item& item, const void* from, S* to) {
  const long ld = leading(call.d_value);
  for (long index = 0; index < states_of(call, item); ++index) {
    const State<S> state = state_at<S>(call, from, index);
    const Stored rows{scalar_type<S>, to, call.d_value};
    store_rows(state.sums, ld, call.width, call.d_value, nullptr, S(1), rows);
    to += long{call.width} * call.d_value;
    for (const S* part : {state.norm, state.top}) {
      if (part == nullptr) continue;
      memcpy(to, part, sizeof(S) * static_cast<unsigned long>(call.width));
      // Where nothing was seen, the caller's state is zeros.
      for (long f = 0; f < call.width; ++f) {
        if (state.norm[f] == 0) to[f] = 0;
      }
      to += call.width;
    }
  }
}

}  // namespace

void prepare(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { prepare_chunk<decltype(s)>(call, item, step); });
}

void advance(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last) {
  with_scalar(call, [&](auto s) {
    using S = decltype(s);
    const Buffers<S> b = buffers_of<S>(call, item, step);
    if (call.delta) {
      advance_delta(call, item, step, b, first, last);
    } else if (step.after != nullptr) {
      advance_sums(call, item, step, b, first, last);
    }
  });
}

void output(const Call& call, const Item& item, const Step& step) {
  with_scalar(call, [&](auto s) { output_chunk<decltype(s)>(call, item, step); });
}

void import_state(const Call& call, const Item& item, const void* from, void* to) {
  with_scalar(call, [&](auto s) { import_any(call, item, static_cast<const decltype(s)*>(from), to); });
}

void export_state(const Call& call, const Item& item, const void* from, void* to) {
  with_scalar(call, [&](auto s) { export_any(call, item, from, static_cast<decltype(s)*>(to)); });
}

}  // namespace rapt::attention::linear::RAPT_ISA
