/// The attention weights themselves, from the log-sum-exp of a forward pass.
#include "attention/added_scores.h"

namespace rapt::attention::RAPT_ISA {
namespace {

template <typename T>
struct Weights {
  using S = typename Numbers<T>::S;
  using Element = typename Numbers<T>::Element;
  static constexpr long group = group_rows<S>;

  const Call& call;
  const Item& item;
  const long most_keys = at_most(tile_keys, item.keys);
  const long depth = elements_of<T>(call.d_key);
  const long ld_keys = leading<Element>(depth);

  Element* queries;  ///< [depth, group]
  Element* keys;     ///< [most_keys, depth]
  S* scores;         ///< [most_keys, group]
  TileMask<S> mask;

  Weights(const Call& c, const Item& i) : call(c), item(i) { allocate(*this); }

  void carve(Carver& carver) {
    queries = carver.take<Element>(depth * group);
    keys = carver.take<Element>(round_up(most_keys, block) * ld_keys);
    scores = carver.take<S>(most_keys * group);
  }

  /// From the products of row r of the group to its weights.
  void write_row(long first_row, long r, long first_key, const Sight& sight) {
    const Row row = row_of(item, first_row + r);
    const S shift = shift_of(static_cast<const S*>(call.log_sum_exp)[statistic_index(call, row)]);
    const RowTerms<S> terms(call, item, row);
    const Capped<S> capped(call);
    float* result = static_cast<float*>(item.partial) + (first_row + r) * item.key_count + first_key;
    for (long j = 0; j < sight.keys; ++j) {
      if (sight.kind == 1 && ((mask.words[j / 32][r] >> (j % 32)) & 1) == 0) continue;
      const Vector<S> product = broadcast(scores[j * group + r]);
      const Vector<S> exponent = call.added.any
                                     ? (capped(product) + terms(first_key + j, 1)) * static_cast<S>(log2_of_e) - shift
                                     : product * static_cast<S>(call.scale * log2_of_e) - shift;
      result[j] = static_cast<float>(exp2(exponent)[0]);
    }
  }

  void tile(long first_row, long rows, long first_key, long count) {
    const Sight sight = see(call, item, first_row, rows, first_key, count, mask);
    if (sight.kind == 0) return;
    pack_keys<T>(call, item, call.k, first_key, count, call.d_key, keys, ld_keys);
    write_product<T, 2, false>({.a = keys,
                                .lda = ld_keys,
                                .b = queries,
                                .ldb = group,
                                .c = scores,
                                .ldc = group,
                                .depth = depth,
                                .rows = sight.keys});
    for (long r = 0; r < rows; ++r) write_row(first_row, r, first_key, sight);
  }

  void run() {
    clear(static_cast<float*>(item.partial), rows_of(item) * item.key_count);
    const KeyRange range = visible_range(call, item, item.first_query, item.first_query + item.queries);
    for (long row = 0; row < rows_of(item); row += group) {
      const RowPointers<const T, S> q(item, call.q, row, call.d_key);
      clear(queries, depth * group);
      pack_group<T>(q.rows, q.count, call.d_key, queries);
      for (long key = range.begin; key < range.end; key += tile_keys) {
        tile(row, q.count, key, at_most(tile_keys, range.end - key));
      }
    }
  }
};

}  // namespace

void weights_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) Weights<decltype(type)>(call, items[i]).run();
  });
}

}  // namespace rapt::attention::RAPT_ISA
