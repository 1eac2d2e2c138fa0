/// Forward pass: exact attention by tiles of keys with a running row maximum (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022). The maximum that weights are
/// relative to follows the running one only when that has grown by more than a factor of 2^8, so that what was summed
/// up is rarely rescaled (as in FlashAttention-4, 2026).
#include "attention/added_scores.h"
#include "attention/dropout_mask.h"
#include "attention/row_observer.h"
#include "attention/tile.h"

namespace rapt::attention::RAPT_ISA {
namespace {

#define RAPT_INLINE_LAMBDA __attribute__((always_inline))

/// By how much, to base 2, scores may exceed the maximum they are relative to.
constexpr double slack = 8;

template <typename T>
struct Forward {
  using S = typename Numbers<T>::S;
  using Element = typename Numbers<T>::Element;
  static constexpr int width = Simd<S>::width;
  static constexpr long step = Numbers<T>::step;
  static constexpr long group = group_rows<S>;

  const Call& call;
  const Item& item;
  const long rows = rows_of(item);
  const long groups = (rows + group - 1) / group;
  const long most_keys = at_most(tile_keys, item.keys);
  const long depth = elements_of<T>(call.d_key);
  const long ld_keys = leading<Element>(depth);
  const long ld_values = leading<Element>(call.d_value);
  const bool modified = call.added.any;
  /// What turns the scores of a tile into exponents to base 2.
  const S scale = static_cast<S>(modified ? log2_of_e : call.scale * log2_of_e);

  Element* queries;  ///< [groups, depth, group]
  Element* keys;     ///< [most_keys, depth]
  Element* values;   ///< [most_keys in elements, d_value]
  S* scores;         ///< [most_keys, group]
  Element* weights;  ///< [most_keys in elements, group]: the scores' memory where elements are as large
  S* sums;           ///< [groups, d_value, group]: weighted values so far
  S* maximum;        ///< [groups, group]: what the weights summed up so far are relative to, to base 2
  S* total;          ///< [groups, group]: the sum of these weights
  uint8_t* begun;    ///< [groups]: whether anything was summed up
  S* terms;          ///< [most_keys, group]: what is added to the scores
  RowObserver<S> observer;
  DropoutMask<S> dropout;
  TileMask<S> mask;

  Forward(const Call& c, const Item& i) : call(c), item(i), observer(c) { allocate(*this); }

  void carve(Carver& carver) {
    queries = carver.take<Element>(groups * depth * group);
    keys = carver.take<Element>(round_up(most_keys, block) * ld_keys);
    values = carver.take<Element>(round_up(most_keys, step) / step * ld_values);
    scores = carver.take<S>(round_up(most_keys, step) * group);
    const long depth_keys = round_up(most_keys, step) / step;
    weights = step == 2 ? carver.take<Element>(depth_keys * group) : reinterpret_cast<Element*>(scores);
    sums = carver.take<S>(groups * call.d_value * group);
    maximum = carver.take<S>(groups * group);
    total = carver.take<S>(groups * group);
    begun = carver.take<uint8_t>(groups);
    if (modified) terms = carver.take<S>(most_keys * group);
    if (call.rows.any) observer.carve(carver, rows);
    if (call.drop_below > 0) dropout.carve(carver);
  }

  /// What one tile does for one group.
  struct Step {
    long g;
    long first_key;
    Sight sight;
    long rows;
  };

  template <int vectors>
  void score(const Step& at, Vector<S> (&highest)[2]) {
    const Product<T> product{.a = keys,
                             .lda = ld_keys,
                             .b = queries + at.g * depth * group,
                             .ldb = group,
                             .c = scores,
                             .ldc = group,
                             .depth = depth,
                             .rows = at.sight.keys};
    if (modified) {
      write_product<T, vectors, false>(product);
      modify<vectors>(at, highest);
      return;
    }
    if (at.sight.kind == 2) {
      multiply<T, vectors, false>(product, [&](S* c, Vector<S> sum, int v) {
        store(sum, c);
        highest[v] = max(highest[v], sum);
      });
      return;
    }
    multiply<T, vectors, false>(product, [&](S* c, Vector<S> sum, int v) {
      sum = mask((c - scores) / group, v) ? sum : minus_infinity<S>();
      store(sum, c);
      highest[v] = max(highest[v], sum);
    });
  }

  /// From products to scores with all that is added to them.
  template <int vectors>
  void modify(const Step& at, Vector<S> (&highest)[2]) {
    fill_terms(call, item, at.g * group, at.rows, at.first_key, at.sight.keys, terms);
    const Capped<S> capped(call);
    for (long j = 0; j < at.sight.keys; ++j) {
      for (int v = 0; v < vectors; ++v) {
        const long place = j * group + v * width;
        Vector<S> score = capped(load(scores + place)) + load(terms + place);
        if (at.sight.kind == 1) score = mask(j, v) ? score : minus_infinity<S>();
        store(score, scores + place);
        highest[v] = max(highest[v], score);
      }
    }
  }

  /// Brings what vector `v` of the group has summed up to a maximum that the new scores do not exceed by much.
  RAPT_INLINE void raise_maximum(const Step& at, int v, Vector<S> highest) {
    S* m = maximum + at.g * group + v * width;
    if (!begun[at.g]) {
      const Vector<S> none = broadcast(no_maximum<S>);
      store(highest > none ? highest : none, m);
      store(Vector<S>{}, total + at.g * group + v * width);
      return;
    }
    const Vector<S> old = load(m);
    const auto grown = highest > old + static_cast<S>(slack);
    if (!any(grown)) return;
    const Vector<S> raised = grown ? highest : old;
    const Vector<S> factor = exp2(old - raised);
    if (call.rows.any) {
      observer.rescale(at.g * group + v * width, load(total + at.g * group + v * width), old - raised, factor);
    }
    store(raised, m);
    store(load(total + at.g * group + v * width) * factor, total + at.g * group + v * width);
    S* sum = sums + at.g * call.d_value * group + v * width;
    for (long i = 0; i < call.d_value; ++i) store(load(sum + i * group) * factor, sum + i * group);
  }

  /// What exponentiate is asked for beside weights.
  enum class Observe { nothing, exponents, weights };

  /// The weight of key j of the tile in vector v, before and after dropout.
  template <Observe observe>
  RAPT_INLINE Vector<S> weight(long j, int v, Vector<S> shift, Vector<S>& sum, Vector<S>& exponents) const {
    const Vector<S> x = load(scores + j * group + v * width) * scale - shift;
    const Vector<S> p = exp2(x);
    sum += p;
    // Where a score is -inf, p is 0 and its product with the exponent must be too.
    if constexpr (observe != Observe::nothing) exponents = multiply_add(exponents, p, max(broadcast(S(-160)), x));
    if constexpr (observe == Observe::weights) store(p, observer.plain + j * group + v * width);
    return call.drop_below > 0 ? (dropout.kept(call, j, v) ? p : Vector<S>{}) : p;
  }

  /// From scores to weights, which go to `result`.
  template <int vectors, Observe observe>
  void exponentiate(const Step& at, Element* result) {
    Vector<S> shift[vectors], sum[vectors] = {}, exponents[vectors] = {};
    for (int v = 0; v < vectors; ++v) shift[v] = load(maximum + at.g * group + v * width);
    const auto next = [&](long j, int v)
                          RAPT_INLINE_LAMBDA { return weight<observe>(j, v, shift[v], sum[v], exponents[v]); };
    long j = 0;
    for (; j + 2 <= at.sight.keys; j += 2) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        const Vector<S> first = next(j, v);
        const Vector<S> second = next(j + 1, v);
        if constexpr (step == 2) {
          store(pair_up(first, second), result + j / 2 * group + v * width);
        } else {
          store(first, result + j * group + v * width);
          store(second, result + (j + 1) * group + v * width);
        }
      }
    }
    if (j < at.sight.keys) {
      for (int v = 0; v < vectors; ++v) {
        if constexpr (step == 2) {
          store(pair_up(next(j, v), Vector<S>{}), result + j / 2 * group + v * width);
        } else {
          store(next(j, v), result + j * group + v * width);
        }
      }
    }
    for (int v = 0; v < vectors; ++v) {
      S* t = total + at.g * group + v * width;
      store(load(t) + sum[v], t);
      if constexpr (observe != Observe::nothing) {
        S* e = observer.exponents + at.g * group + v * width;
        store(load(e) + exponents[v], e);
      }
    }
  }

  template <int vectors>
  void add_values(const Step& at) {
    const Product<T> product{.a = values,
                             .lda = ld_values,
                             .b = weights,
                             .ldb = group,
                             .c = sums + at.g * call.d_value * group,
                             .ldc = group,
                             .depth = elements_of<T>(at.sight.keys),
                             .rows = call.d_value};
    if (begun[at.g]) {
      add_product<T, vectors, true>(product);
    } else {
      write_product<T, vectors, true>(product);
    }
  }

  template <int vectors>
  void advance(const Step& at) {
    Vector<S> highest[2] = {minus_infinity<S>(), minus_infinity<S>()};
    score<vectors>(at, highest);
    for (int v = 0; v < vectors; ++v) raise_maximum(at, v, highest[v] * scale);
    if (call.drop_below > 0) {
      dropout.draw(call, item, at.g * group, at.rows, at.first_key, at.sight.keys);
    }
    if (call.rows.any)
      observer.template observe_scores<vectors>(at.g * group, at.first_key, at.sight.keys, scores, highest);
    if (call.rows.any && observer.weighs) {
      exponentiate<vectors, Observe::weights>(at, weights);
      observer.template observe_weights<vectors>(at.g * group, at.first_key, at.sight.keys);
    } else if (call.rows.entropy != nullptr) {
      exponentiate<vectors, Observe::exponents>(at, weights);
    } else {
      exponentiate<vectors, Observe::nothing>(at, weights);
    }
    add_values<vectors>(at);
    begun[at.g] = 1;
  }

  void tile(long first_key, long count) {
    bool packed = false;
    for (long g = 0; g < groups; ++g) {
      const long group_size = at_most(group, rows - g * group);
      const Sight sight = see(call, item, g * group, group_size, first_key, count, mask);
      if (sight.kind == 0) continue;
      if (!packed) {
        pack_keys<T>(call, item, call.k, first_key, count, call.d_key, keys, ld_keys);
        pack_values<T>(call, item, call.v, first_key, count, call.d_value, values, ld_values);
        packed = true;
      }
      const Step at{g, first_key, sight, group_size};
      if (group_size > width) {
        advance<2>(at);
      } else {
        advance<1>(at);
      }
    }
  }

  void finish(long g) {
    const RowPointers<T, S> out(item, call.out, g * group, call.d_value);
    S factors[group] = {};
    for (long r = 0; r < out.count; ++r) {
      const Row row = row_of(item, g * group + r);
      const RowSum<S> sum = with_sink(call, row.head, begun[g] ? maximum[g * group + r] : no_maximum<S>,
                                      begun[g] ? total[g * group + r] : S(0));
      factors[r] = static_cast<S>(call.keep_scale) * sum.factor;
      if (call.log_sum_exp != nullptr) static_cast<S*>(call.log_sum_exp)[statistic_index(call, row)] = sum.log_sum_exp;
      if (call.rows.any) {
        observer.write(call, row, g * group + r, maximum[g * group + r], begun[g] ? total[g * group + r] : S(0),
                       sum.log_sum_exp, scale);
      }
    }
    if (!begun[g]) clear(sums + g * call.d_value * group, call.d_value * group);
    unpack_group<T>(sums + g * call.d_value * group, factors, out.rows, out.count, call.d_value);
  }

  void run() {
    for (long g = 0; g < groups; ++g) {
      const RowPointers<const T, S> q(item, call.q, g * group, call.d_key);
      pack_group<T>(q.rows, q.count, call.d_key, queries + g * depth * group);
      begun[g] = 0;
    }
    if (call.rows.any) observer.begin(item, rows);
    const KeyRange range = visible_range(call, item, item.first_query, item.first_query + item.queries);
    for (long key = range.begin; key < range.end; key += tile_keys) tile(key, at_most(tile_keys, range.end - key));
    for (long g = 0; g < groups; ++g) finish(g);
  }
};

}  // namespace

void forward_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) Forward<decltype(type)>(call, items[i]).run();
  });
}

}  // namespace rapt::attention::RAPT_ISA
