/// What keys receive, and pooled maps: one more pass over the tiles, with the weights of the finished softmax. An item
/// owns some keys of one head and looks at all rows, so that nothing is added up by two threads.
#include "attention/added_scores.h"
#include "attention/pooled_map.h"

namespace rapt::attention::RAPT_ISA {
namespace {

template <typename T>
struct TileStatistics {
  using S = typename Numbers<T>::S;
  using Element = typename Numbers<T>::Element;
  static constexpr int width = Simd<S>::width;
  static constexpr long group = group_rows<S>;

  const Call& call;
  const Item& item;  ///< of one query head
  const long most_keys = at_most(tile_keys, item.keys);
  const long depth = elements_of<T>(call.d_key);
  const long ld_keys = leading<Element>(depth);
  const PooledMap map{call, item};

  Element* queries;  ///< [depth, group]
  Element* keys;     ///< [most_keys, depth]
  S* scores;         ///< [most_keys, group]
  S* terms;          ///< [most_keys, group]
  S* mass;           ///< [most_keys, width]: what each key received, lane by lane
  TileMask<S> mask;

  TileStatistics(const Call& c, const Item& i) : call(c), item(i) { allocate(*this); }

  void carve(Carver& carver) {
    queries = carver.take<Element>(depth * group);
    keys = carver.take<Element>(round_up(most_keys, block) * ld_keys);
    scores = carver.take<S>(most_keys * group);
    terms = carver.take<S>(call.added.any ? most_keys * group : 0);
    mass = carver.take<S>(most_keys * width);
  }

  /// The row of a query: the item has one head.
  Row row_at(long row) const {
    const long query = item.first_query + row;
    return {query, item.query_begin + query, item.head};
  }

  /// From the products of a group to its weights, which are added up over rows, and over rows and keys of a bin.
  template <bool modified>
  void add_up(long first_row, long rows, long first_key, const Sight& sight) {
    if constexpr (modified) fill_terms(call, item, first_row, rows, first_key, sight.keys, terms);
    const Capped<S> capped(call);
    const S scale = static_cast<S>(call.scale * log2_of_e);
    S row_shift[group];
    for (long r = 0; r < group; ++r) {
      row_shift[r] =
          r < rows ? shift_of(static_cast<const S*>(call.log_sum_exp)[statistic_index(call, row_at(first_row + r))])
                   : infinity<S>;
    }
    const Vector<S> shift[2] = {load(row_shift), load(row_shift + width)};
    const auto weight = [&](long j, int v) __attribute__((always_inline)) {
      // Terms were filled in for vectors with rows only.
      if (modified && v * width >= rows) return Vector<S>{};
      const long place = j * group + v * width;
      Vector<S> exponent = load(scores + place);
      if constexpr (modified) {
        exponent = (capped(exponent) + load(terms + place)) * static_cast<S>(log2_of_e) - shift[v];
      } else {
        exponent = exponent * scale - shift[v];
      }
      const Vector<S> p = exp2(exponent);
      if (sight.kind != 1) return p;
      return mask(j, v) ? p : Vector<S>{};
    };
    map.each_part(first_key, first_key + sight.keys, item.key_count, [&](long bin, long begin, long end) {
      Vector<S> sum[2] = {};
      for (long j = begin - first_key; j < end - first_key; ++j) {
        const Vector<S> p[2] = {weight(j, 0), weight(j, 1)};
        sum[0] += p[0];
        sum[1] += p[1];
        store(load(mass + j * width) + (p[0] + p[1]), mass + j * width);
      }
      if (call.bins > 0) map.add_rows<S>(first_row, rows, bin, sum);
    });
  }

  void tile(long first_key, long count) {
    clear(mass, count * width);
    bool packed = false;
    for (long row = 0; row < rows_of(item); row += group) {
      const RowPointers<const T, S> q(item, call.q, row, call.d_key);
      const Sight sight = see(call, item, row, q.count, first_key, count, mask);
      if (sight.kind == 0) continue;
      if (!packed) pack_keys<T>(call, item, call.k, first_key, count, call.d_key, keys, ld_keys);
      packed = true;
      if (q.count < group) clear(queries, depth * group);
      pack_group<T>(q.rows, q.count, call.d_key, queries);
      write_product<T, 2, false>({.a = keys,
                                  .lda = ld_keys,
                                  .b = queries,
                                  .ldb = group,
                                  .c = scores,
                                  .ldc = group,
                                  .depth = depth,
                                  .rows = sight.keys});
      if (call.added.any) {
        add_up<true>(row, q.count, first_key, sight);
      } else {
        add_up<false>(row, q.count, first_key, sight);
      }
    }
    if (call.key_mass == nullptr) return;
    for (long j = 0; j < count; ++j) {
      call.key_mass[(item.key_begin + first_key + j) * call.heads + item.head] =
          static_cast<float>(kernels::sum(load(mass + j * width)));
    }
  }

  void run() {
    if (call.bins > 0) map.begin();
    const long end = item.first_key + item.keys;
    for (long key = item.first_key; key < end; key += tile_keys) tile(key, at_most(tile_keys, end - key));
  }
};

}  // namespace

void tile_statistics_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) TileStatistics<decltype(type)>(call, items[i]).run();
  });
}

}  // namespace rapt::attention::RAPT_ISA
