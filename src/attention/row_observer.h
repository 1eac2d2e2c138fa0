/// What rows are asked about, collected while softmax runs. Included by *.isa.cpp only. Sums are relative to the same
/// maximum as the softmax denominator, and are rescaled with it.
#pragma once

#include "attention/tile.h"

namespace rapt::attention::RAPT_ISA {
namespace {

template <typename S>
struct RowObserver {
  static constexpr int width = Simd<S>::width;
  static constexpr long group = group_rows<S>;

  S* exponents;       ///< [rows]: sum of p x, x being the exponent to base 2 of p
  S* distances;       ///< [rows]: sum of p |key - position|
  S* first;           ///< [rows]: p of key 0
  S* previous;        ///< [rows]: p of the key before the position
  S* same;            ///< [rows]: p of the key at the position
  S* positions;       ///< [rows]
  S* highest;         ///< [rows]: the largest score so far, before `scale`
  S* highest_key;     ///< [rows]: in S, which holds keys below 2^24 exactly
  S* plain;           ///< [tile_keys, group]: the weights of a tile, relative to the maximum
  S* top_scores;      ///< [rows, top], descending
  int32_t* top_keys;  ///< [rows, top]

  void carve(const Call& call, Carver& carver, long rows) {
    const long padded = round_up(rows, group);
    for (S** member : {&exponents, &distances, &first, &previous, &same, &positions, &highest, &highest_key}) {
      *member = carver.take<S>(padded);
    }
    plain = carver.take<S>(tile_keys * group);
    top_scores = carver.take<S>(padded * call.rows.top);
    top_keys = carver.take<int32_t>(padded * call.rows.top);
  }

  void begin(const Call& call, const Item& item, long rows) {
    const long padded = round_up(rows, group);
    for (S* member : {exponents, distances, first, previous, same}) clear(member, padded);
    for (long r = 0; r < padded; ++r) {
      positions[r] = r < rows ? static_cast<S>(row_of(item, r).query + item.key_count - item.query_count) : S(0);
      highest[r] = -infinity<S>;
      highest_key[r] = -1;
    }
    for (long i = 0; i < padded * call.rows.top; ++i) {
      top_scores[i] = -infinity<S>;
      top_keys[i] = -1;
    }
  }

  /// The maximum that sums of the vector at `row` are relative to changes by `change` (to base 2), sums so far by
  /// `factor`.
  RAPT_INLINE void rescale(long row, Vector<S> total, Vector<S> change, Vector<S> factor) {
    store((load(exponents + row) + change * total) * factor, exponents + row);
    for (S* member : {distances, first, previous, same}) store(load(member + row) * factor, member + row);
  }

  /// Takes in the weights p = plain of a tile, whose scores are `scores` (in the unit that `scale` brings to base 2).
  template <int vectors>
  void observe(const Call& call, long first_row, long first_key, long keys, const S* scores, S scale,
               const S* maximum) {
    Vector<S> exponent[vectors] = {}, distance[vectors] = {}, best[vectors], best_key[vectors], position[vectors],
              shift[vectors];
    for (int v = 0; v < vectors; ++v) {
      const long row = first_row + v * width;
      best[v] = load(highest + row);
      best_key[v] = load(highest_key + row);
      position[v] = load(positions + row) - static_cast<S>(first_key);
      shift[v] = load(maximum + row);
    }
    for (long j = 0; j < keys; ++j) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        const Vector<S> score = load(scores + j * group + v * width);
        const Vector<S> p = load(plain + j * group + v * width);
        // Where a score is -inf, p is 0 and its product with the exponent must be too.
        const Vector<S> bounded = max(score * scale - shift[v], broadcast(S(-160)));
        exponent[v] = multiply_add(exponent[v], p, bounded);
        const Vector<S> away = static_cast<S>(j) - position[v];
        distance[v] = multiply_add(distance[v], p, max(away, -away));
        const auto better = score > best[v];
        best_key[v] = better ? broadcast(static_cast<S>(first_key + j)) : best_key[v];
        best[v] = better ? score : best[v];
      }
    }
    for (int v = 0; v < vectors; ++v) {
      const long row = first_row + v * width;
      store(best[v], highest + row);
      store(best_key[v], highest_key + row);
      store(load(exponents + row) + exponent[v], exponents + row);
      store(load(distances + row) + distance[v], distances + row);
    }
    observe_places(first_row, vectors * width, first_key, keys);
    if (call.rows.top > 0) observe_top<vectors>(call.rows.top, first_row, first_key, keys, scores);
  }

  /// The weights at places of interest: each lies in one tile.
  void observe_places(long first_row, long rows, long first_key, long keys) {
    for (long r = 0; r < rows; ++r) {
      const long at = static_cast<long>(positions[first_row + r]) - first_key;
      if (first_key == 0) first[first_row + r] = plain[r];
      if (at >= 0 && at < keys) same[first_row + r] = plain[at * group + r];
      if (at >= 1 && at <= keys) previous[first_row + r] = plain[(at - 1) * group + r];
    }
  }

  template <int vectors>
  void observe_top(long top, long first_row, long first_key, long keys, const S* scores) {
    Vector<S> least[vectors];
    const auto load_least = [&](int v) {
      for (int i = 0; i < width; ++i) least[v][i] = top_scores[(first_row + v * width + i) * top + top - 1];
    };
    for (int v = 0; v < vectors; ++v) load_least(v);
    for (long j = 0; j < keys; ++j) {
      for (int v = 0; v < vectors; ++v) {
        const Vector<S> score = load(scores + j * group + v * width);
        const auto heavier = score > least[v];
        if (!any(heavier)) continue;
        for (int i = 0; i < width; ++i) {
          if (heavier[i] != 0) insert(top, first_row + v * width + i, score[i], static_cast<int32_t>(first_key + j));
        }
        load_least(v);
      }
    }
  }

  void insert(long top, long row, S score, int32_t key) {
    S* s = top_scores + row * top;
    int32_t* k = top_keys + row * top;
    long at = top - 1;
    for (; at > 0 && score > s[at - 1]; --at) {
      s[at] = s[at - 1];
      k[at] = k[at - 1];
    }
    s[at] = score;
    k[at] = key;
  }

  /// Writes what was asked about one row. maximum, total: of its softmax, to base 2 and without a sink; `scale` brings
  /// scores to base 2.
  void write(const Call& call, const Row& at, long row, S maximum, S total, S log_sum_exp, S scale) const {
    const RowStatistics& ask = call.rows;
    const long place = statistic_index(call, at);
    const bool empty = total == 0;
    // The share of p in the whole, sink included.
    const double share =
        empty ? 0 : __builtin_exp2(static_cast<double>(maximum) - static_cast<double>(log_sum_exp) * log2_of_e);
    const auto mass = [&](S sum) { return static_cast<float>(static_cast<double>(sum) * share); };
    if (ask.maximum != nullptr) {
      ask.maximum[place] =
          empty ? -__builtin_inff()
                : static_cast<float>(static_cast<double>(highest[row]) * static_cast<double>(scale) * log_of_2);
    }
    if (ask.maximum_key != nullptr) ask.maximum_key[place] = empty ? -1 : static_cast<int32_t>(highest_key[row]);
    if (ask.entropy != nullptr) {
      // -sum p log p with p = share 2^x: the weights on keys, which add up to less than 1 beside a sink.
      const double weight = static_cast<double>(total) * share;
      const double log_share = static_cast<double>(maximum) * log_of_2 - static_cast<double>(log_sum_exp);
      const double sum = static_cast<double>(exponents[row]) * share * log_of_2 + weight * log_share;
      ask.entropy[place] = empty ? 0.0f : static_cast<float>(sum < 0 ? -sum : 0.0);
    }
    if (ask.mean_distance != nullptr) ask.mean_distance[place] = mass(distances[row]);
    if (ask.mass_on_first != nullptr) ask.mass_on_first[place] = mass(first[row]);
    if (ask.mass_on_previous != nullptr) ask.mass_on_previous[place] = mass(previous[row]);
    if (ask.mass_on_same != nullptr) ask.mass_on_same[place] = mass(same[row]);
    for (long i = 0; i < ask.top; ++i) {
      const S score = top_scores[row * ask.top + i];
      const bool present = !empty && top_keys[row * ask.top + i] >= 0;
      const double exponent =
          static_cast<double>(score) * static_cast<double>(scale) - static_cast<double>(log_sum_exp) * log2_of_e;
      ask.top_keys[place * ask.top + i] = present ? top_keys[row * ask.top + i] : -1;
      ask.top_weights[place * ask.top + i] = present ? static_cast<float>(__builtin_exp2(exponent)) : 0.0f;
    }
  }
};

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
