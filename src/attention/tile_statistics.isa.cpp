/// What keys receive, and pooled maps: one more pass over the tiles, with the weights of the finished softmax. An item
/// owns some keys of one head and looks at all rows, so that nothing is added up by two threads.
#include "attention/added_scores.h"

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
  const long first_bin = item.keys > 0 ? bin_of_key(item.first_key) : 0;
  const long touched_bins = item.keys > 0 ? bin_of_key(item.first_key + item.keys - 1) - first_bin + 1 : 0;

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

  long bin_of_key(long key) const { return call.bins > 0 ? key * call.bins / item.key_count : 0; }
  long bin_of_query(long query) const { return query * call.bins / item.query_count; }

  /// From the products of a group to its weights.
  void weigh(long first_row, long rows, long first_key, const Sight& sight) {
    if (call.added.any) fill_terms(call, item, first_row, rows, first_key, sight.keys, terms);
    const Capped<S> capped(call);
    S row_shift[group];
    for (long r = 0; r < group; ++r) {
      row_shift[r] =
          r < rows
              ? shift_of(static_cast<const S*>(call.log_sum_exp)[statistic_index(call, row_of(item, first_row + r))])
              : infinity<S>;
    }
    for (long j = 0; j < sight.keys; ++j) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const long place = j * group + v * width;
        if (v * width >= rows) {
          // Terms were filled in for vectors with rows only.
          store(Vector<S>{}, scores + place);
          continue;
        }
        const Vector<S> product = load(scores + place);
        const Vector<S> shift = load(row_shift + v * width);
        const Vector<S> exponent = call.added.any
                                       ? (capped(product) + load(terms + place)) * static_cast<S>(log2_of_e) - shift
                                       : product * static_cast<S>(call.scale * log2_of_e) - shift;
        Vector<S> p = exp2(exponent);
        if (sight.kind == 1) p = mask(j, v) ? p : Vector<S>{};
        store(p, scores + place);
      }
    }
  }

  void add_mass(long count) {
    for (long j = 0; j < count; ++j) {
      const S* p = scores + j * group;
      store(load(mass + j * width) + (load(p) + load(p + width)), mass + j * width);
    }
  }

  /// Adds the tile to the pooled map, bin by bin of its keys.
  void add_pooled(long first_row, long rows, long first_key, long count) {
    float* const pooled = static_cast<float*>(item.partial);
    for (long j = 0; j < count;) {
      const long bin = bin_of_key(first_key + j);
      Vector<S> sum[2] = {};
      for (; j < count && bin_of_key(first_key + j) == bin; ++j) {
        sum[0] += load(scores + j * group);
        sum[1] += load(scores + j * group + width);
      }
      for (long r = 0; r < rows; ++r) {
        const long query_bin = bin_of_query(row_of(item, first_row + r).query);
        pooled[query_bin * touched_bins + bin - first_bin] += static_cast<float>(sum[r / width][r % width]);
      }
    }
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
      weigh(row, q.count, first_key, sight);
      if (call.key_mass != nullptr) add_mass(sight.keys);
      if (call.bins > 0) add_pooled(row, q.count, first_key, sight.keys);
    }
    if (call.key_mass == nullptr) return;
    for (long j = 0; j < count; ++j) {
      call.key_mass[(item.key_begin + first_key + j) * call.heads + item.head] =
          static_cast<float>(kernels::sum(load(mass + j * width)));
    }
  }

  void run() {
    if (call.bins > 0) clear(static_cast<float*>(item.partial), call.bins * touched_bins);
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
