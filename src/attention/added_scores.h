/// What is done to scores beyond scaling: soft cap, bias, relative positions, ALiBi; and the gradients of these.
/// Included by *.isa.cpp only. Terms are computed along the keys of one row and transposed into tiles.
#pragma once

#include "attention/tile.h"
#include "kernels/functions.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// A score scaled and capped: c tanh(scale x / c), or scale x without a cap c.
template <typename S>
struct Capped {
  S scale, cap, over_cap;

  RAPT_INLINE explicit Capped(const Call& call)
      : scale(static_cast<S>(call.scale)),
        cap(static_cast<S>(call.added.soft_cap)),
        over_cap(cap > 0 ? 1 / cap : S(0)) {}

  RAPT_INLINE Vector<S> operator()(Vector<S> product) const {
    const Vector<S> x = product * scale;
    return cap > 0 ? tanh(x * over_cap) * cap : x;
  }

  /// Derivatives of the result by the scaled score, and by the cap.
  struct Slopes {
    Vector<S> score, cap;
  };
  RAPT_INLINE Slopes slopes(Vector<S> product) const {
    if (!(cap > 0)) return {broadcast(S(1)), Vector<S>{}};
    const Vector<S> x = product * scale * over_cap;
    const Vector<S> t = tanh(x);
    const Vector<S> slope = S(1) - t * t;
    return {slope, t - x * slope};
  }
};

/// The position of a query among the keys.
RAPT_INLINE long position_of(const Item& item, long query, bool from_start) {
  return from_start ? query : query + item.key_count - item.query_count;
}

/// What is added to the scores of one row, key by key.
template <typename S>
struct RowTerms {
  static constexpr int width = Simd<S>::width;
  const S* bias = nullptr;  ///< of key 0
  long by_key = 0;
  const S* relative = nullptr;  ///< of key 0
  S slope = 0;                  ///< of ALiBi
  long position = 0;

  RAPT_INLINE RowTerms(const Call& call, const Item& item, const Row& row) {
    const AddedScores& added = call.added;
    by_key = added.by_key;
    position = position_of(item, row.query, false);
    if (added.bias != nullptr) {
      bias = static_cast<const S*>(added.bias) + item.sequence * added.by_sequence + row.head * added.by_head +
             row.query * added.by_query;
    }
    if (added.relative != nullptr) {
      relative = static_cast<const S*>(added.relative) + row.head * (2 * added.reach + 1) + added.reach -
                 position_of(item, row.query, added.relative_from_start);
    }
    if (added.alibi_slopes != nullptr) slope = static_cast<const S*>(added.alibi_slopes)[row.head];
  }

  /// |key - position| for the keys from `key` on.
  RAPT_INLINE Vector<S> distances(long key) const {
    Vector<S> d;
    for (int i = 0; i < width; ++i) d[i] = static_cast<S>(i);
    d += static_cast<S>(key - position);
    return d < S(0) ? -d : d;
  }

  /// The terms of the keys [key, key + n), in the first n lanes.
  RAPT_INLINE Vector<S> operator()(long key, long n) const {
    Vector<S> sum = {};
    if (bias != nullptr) {
      if (by_key == 1) {
        sum = load_at_most(bias + key, n);
      } else {
        for (int i = 0; i < width; ++i) sum[i] = i < n ? bias[(key + i) * by_key] : S(0);
      }
    }
    if (relative != nullptr) sum += load_at_most(relative + key, n);
    if (slope != 0) sum -= slope * distances(key);
    return sum;
  }
};

/// result[j, r]: the terms of rows [first_row, first_row + rows) of the item and keys [first_key, first_key + keys);
/// rows up to whole vectors are written.
template <typename S>
void fill_terms(const Call& call, const Item& item, long first_row, long rows, long first_key, long keys, S* result) {
  constexpr int width = Simd<S>::width;
  for (long r = 0; r < rows; r += width) {
    for (long j = 0; j < keys; j += width) {
      Vector<S> v[width];
      for (int i = 0; i < width; ++i) {
        v[i] = r + i < rows ? RowTerms<S>(call, item, row_of(item, first_row + r + i))(first_key + j, keys - j)
                            : Vector<S>{};
      }
      transpose_square<width / 2, S>(v);
      for (int i = 0; i < at_most(width, keys - j); ++i) store(v[i], result + (j + i) * group_rows<S> + r);
    }
  }
}

/// Where one item sums up the gradients of numbers that many scores share: [scale, soft cap, slope of each head of the
/// item, relative term of each head and distance].
template <typename S>
struct SharedGradients {
  S* scale;
  S* soft_cap;
  S* slopes;
  S* relative;

  RAPT_INLINE SharedGradients(const Item& item)
      : scale(static_cast<S*>(item.shared_gradients)),
        soft_cap(scale + 1),
        slopes(scale + 2),
        relative(slopes + item.heads) {}
};

/// Adds the gradients of the terms of rows [first_row, first_row + rows) and keys [first_key, first_key + keys), given
/// those of the scores, [keys, group_rows].
template <typename S>
void add_term_gradients(const Call& call, const Item& item, long first_row, long rows, long first_key, long keys,
                        const S* d_scores) {
  constexpr int width = Simd<S>::width;
  const AddedScores& added = call.added;
  const SharedGradients<S> shared(item);
  for (long r = 0; r < rows; r += width) {
    for (long j = 0; j < keys; j += width) {
      Vector<S> v[width];
      for (int i = 0; i < width; ++i) {
        v[i] = j + i < keys ? load(d_scores + (j + i) * group_rows<S> + r) : Vector<S>{};
      }
      transpose_square<width / 2, S>(v);
      const long n = at_most(width, keys - j);
      for (int i = 0; i < at_most(width, rows - r); ++i) {
        const Row row = row_of(item, first_row + r + i);
        const long key = first_key + j;
        const RowTerms<S> terms(call, item, row);
        if (added.d_bias != nullptr) {
          S* bias = static_cast<S*>(added.d_bias) + item.sequence * added.by_sequence + row.head * added.by_head +
                    row.query * added.by_query + key * added.by_key;
          for (long lane = 0; lane < n; ++lane) bias[lane * added.by_key] += v[i][lane];
        }
        const long head = row.head - item.head;
        if (added.d_slopes) shared.slopes[head] -= kernels::sum(v[i] * terms.distances(key));
        if (added.d_relative) {
          S* relative = shared.relative + head * (2 * added.reach + 1) + added.reach + key -
                        position_of(item, row.query, added.relative_from_start);
          for (long lane = 0; lane < n; ++lane) relative[lane] += v[i][lane];
        }
      }
    }
  }
}

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
