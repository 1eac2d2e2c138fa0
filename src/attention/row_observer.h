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
  using Keys = Mask<S>;  ///< key numbers in lanes
  using Key = decltype(Keys{}[0] + 0);

  bool weighs = false;  ///< whether anything is asked that takes each weight
  long heaviest = 0;    ///< scores that are kept of each row

  S* exponents;   ///< [rows]: sum of p x, x being the exponent to base 2 of p
  S* distances;   ///< [rows]: sum of p |key - position|
  S* first;       ///< [rows]: p of key 0
  S* previous;    ///< [rows]: p of the key before the position
  S* same;        ///< [rows]: p of the key at the position
  S* positions;   ///< [rows]
  S* plain;       ///< [tile_keys, group]: the weights of a tile, relative to the maximum
  S* top_scores;  ///< [groups, heaviest, group]: the largest scores so far, descending, before `scale`
  Key* top_keys;  ///< [groups, heaviest, group]

  explicit RowObserver(const Call& call) {
    const RowStatistics& ask = call.rows;
    weighs = ask.mean_distance != nullptr || ask.mass_on_first != nullptr || ask.mass_on_previous != nullptr ||
             ask.mass_on_same != nullptr;
    const long asked = at_least(ask.top, ask.maximum != nullptr || ask.maximum_key != nullptr);
    heaviest = asked <= 1 ? asked : at_least(asked, 4);
  }

  void carve(Carver& carver, long rows) {
    const long padded = round_up(rows, group);
    for (S** member : {&exponents, &distances, &first, &previous, &same, &positions}) *member = carver.take<S>(padded);
    if (weighs) plain = carver.take<S>(tile_keys * group);
    top_scores = carver.take<S>(padded * heaviest);
    top_keys = carver.take<Key>(padded * heaviest);
  }

  void begin(const Item& item, long rows) {
    const long padded = round_up(rows, group);
    for (S* member : {exponents, distances, first, previous, same}) clear(member, padded);
    for (long r = 0; r < padded; ++r) {
      positions[r] = r < rows ? static_cast<S>(row_of(item, r).query + item.key_count - item.query_count) : S(0);
    }
    for (long i = 0; i < padded * heaviest; ++i) {
      top_scores[i] = static_cast<S>(-__builtin_inf());
      top_keys[i] = -1;
    }
  }

  /// The maximum that sums of the vector at `row` are relative to changes by `change` (to base 2), sums so far by
  /// `factor`.
  RAPT_INLINE void rescale(long row, Vector<S> total, Vector<S> change, Vector<S> factor) {
    store((load(exponents + row) + change * total) * factor, exponents + row);
    for (S* member : {distances, first, previous, same}) store(load(member + row) * factor, member + row);
  }

  /// Takes in the weights `plain` of a tile.
  template <int vectors>
  void observe_weights(long first_row, long first_key, long keys) {
    for (int v = 0; v < vectors; ++v) {
      const long row = first_row + v * width;
      const Vector<S> position = load(positions + row) - static_cast<S>(first_key);
      Vector<S> distance = load(distances + row);
      for (long j = 0; j < keys; ++j) {
        const Vector<S> away = static_cast<S>(j) - position;
        distance = multiply_add(distance, load(plain + j * group + v * width), max(away, -away));
      }
      store(distance, distances + row);
    }
    observe_places(first_row, vectors * width, first_key, keys);
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

  /// The heaviest of a vector of rows while a tile is looked at: `count` of them in registers, or any number in memory
  /// when count is 0.
  template <int count>
  struct Heaviest {
    S* const s;
    Key* const k;
    const long in_memory;
    Vector<S> scores[at_least(count, 1)];
    Keys keys[at_least(count, 1)];

    RAPT_INLINE Heaviest(S* s_of_rows, Key* k_of_rows, long number)
        : s(s_of_rows), k(k_of_rows), in_memory(number), scores{}, keys{} {
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) {
        scores[i] = load(s + i * group);
        memcpy(&keys[i], k + i * group, sizeof keys[i]);
      }
    }
    RAPT_INLINE void save() const {
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) {
        store(scores[i], s + i * group);
        memcpy(k + i * group, &keys[i], sizeof keys[i]);
      }
    }
    RAPT_INLINE bool any_below(Vector<S> score) const {
      return any_above<S>(score, count > 0 ? scores[at_least(count, 1) - 1] : load(s + (in_memory - 1) * group));
    }

    /// Puts the scores of a key where they belong: behind those that are as large.
    RAPT_INLINE void insert(Vector<S> score, Key number) {
      Keys key = number - Keys{};
      if constexpr (count == 0) {
        Keys inserted = {};
        for (long i = 0; i < in_memory; ++i) {
          const Vector<S> kept = load(s + i * group);
          Keys kept_key;
          memcpy(&kept_key, k + i * group, sizeof kept_key);
          inserted |= score > kept;
          store(inserted ? score : kept, s + i * group);
          const Keys placed = inserted ? key : kept_key;
          memcpy(k + i * group, &placed, sizeof placed);
          score = inserted ? kept : score;
          key = inserted ? kept_key : key;
        }
      } else {
#pragma GCC unroll 8
        for (int i = count - 1; i > 0; --i) {
          const auto above = score > scores[i - 1], here = score > scores[i];
          scores[i] = above ? scores[i - 1] : here ? score : scores[i];
          keys[i] = above ? keys[i - 1] : here ? key : keys[i];
        }
        const auto here = score > scores[0];
        scores[0] = here ? score : scores[0];
        keys[0] = here ? key : keys[0];
      }
    }
  };

  template <int count>
  void observe_column(long row, long first_key, long keys, const S* column, Vector<S> highest) {
    const long place = row / group * heaviest * group + row % group;
    Heaviest<count> kept(top_scores + place, top_keys + place, heaviest);
    if (!kept.any_below(highest)) return;
    for (long j = 0; j < keys; j += 4) {
      const long end = at_most(j + 4, keys);
      Vector<S> four = load(column + j * group);
      for (long i = j + 1; i < end; ++i) four = max(four, load(column + i * group));
      if (!kept.any_below(four)) continue;
      for (long i = j; i < end; ++i) {
        const Vector<S> score = load(column + i * group);
        if (kept.any_below(score)) kept.insert(score, static_cast<Key>(first_key + i));
      }
    }
    kept.save();
  }

  /// Takes in the scores of a tile; the highest of each row are known. Few tiles have any that a row keeps, and few
  /// keys of these.
  template <int vectors>
  void observe_scores(long first_row, long first_key, long keys, const S* scores, const Vector<S>* highest) {
    for (int v = 0; v < vectors && heaviest > 0; ++v) {
      const long row = first_row + v * width;
      const S* const column = scores + v * width;
      if (heaviest == 1) {
        observe_column<1>(row, first_key, keys, column, highest[v]);
      } else if (heaviest <= 4) {
        observe_column<4>(row, first_key, keys, column, highest[v]);
      } else {
        observe_column<0>(row, first_key, keys, column, highest[v]);
      }
    }
  }

  /// Writes what was asked about one row. maximum, total: of its softmax, to base 2 and without a sink; `scale` brings
  /// scores to base 2.
  void write(const Call& call, const Row& at, long row, S maximum, S total, S log_sum_exp, S scale) const {
    const RowStatistics& ask = call.rows;
    const long place = statistic_index(call, at);
    const bool empty = total == 0;
    const long heaviest_place = row / group * heaviest * group + row % group;
    // The share of p in the whole, sink included.
    const double share =
        empty ? 0 : __builtin_exp2(static_cast<double>(maximum) - static_cast<double>(log_sum_exp) * log2_of_e);
    const auto mass = [&](S sum) { return static_cast<float>(static_cast<double>(sum) * share); };
    if (ask.maximum != nullptr) {
      ask.maximum[place] = empty ? -__builtin_inff()
                                 : static_cast<float>(static_cast<double>(top_scores[heaviest_place]) *
                                                      static_cast<double>(scale) * log_of_2);
    }
    if (ask.maximum_key != nullptr)
      ask.maximum_key[place] = empty ? -1 : static_cast<int32_t>(top_keys[heaviest_place]);
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
      const S score = top_scores[heaviest_place + i * group];
      const Key key = top_keys[heaviest_place + i * group];
      const bool present = !empty && key >= 0;
      const double exponent =
          static_cast<double>(score) * static_cast<double>(scale) - static_cast<double>(log_sum_exp) * log2_of_e;
      ask.top_keys[place * ask.top + i] = present ? static_cast<int32_t>(key) : -1;
      ask.top_weights[place * ask.top + i] = present ? static_cast<float>(__builtin_exp2(exponent)) : 0.0f;
    }
  }
};

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
