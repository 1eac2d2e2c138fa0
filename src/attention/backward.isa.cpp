/// Backward pass: weights are rebuilt from the log-sum-exp of the forward pass tile by tile (Dao et al.,
/// "FlashAttention", 2022, algorithm 4). With P the weights, D dropout's mask over its kept fraction and s the scale:
///   dV = (P D)^T dO,  dP = (dO V^T) D,  dS = s P (dP - rowsum(dO O)),  dQ = dS K,  dK = dS^T Q.
/// All five products read tiles with a key a row and an attention row a lane, as the forward pass does.
#include "attention/added_scores.h"
#include "attention/dropout_mask.h"
#include "attention/pooled_map.h"
#include "attention/tile.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// Rows that are done together, so that sums over rows are long enough to be worth loading what they are added to.
template <typename S>
constexpr long tile_rows = 4 * group_rows<S>;

template <typename T>
void write_d_queries(const Call& call, const Item& item, const typename Numbers<T>::S* d_queries);

template <typename T>
struct Backward {
  using S = typename Numbers<T>::S;
  using Element = typename Numbers<T>::Element;
  static constexpr int width = Simd<S>::width;
  static constexpr long step = Numbers<T>::step;
  static constexpr long group = group_rows<S>;
  static constexpr long row_tile = tile_rows<S>;

  const Call& call;
  const Item& item;
  const long rows = rows_of(item);
  const long most_rows = round_up(at_most(row_tile, rows), group);
  const long most_keys = at_most(tile_keys, item.keys);
  const long d_key = call.d_key;
  const long d_value = call.d_value;
  const long depth_key = elements_of<T>(d_key);
  const long depth_value = elements_of<T>(d_value);
  const long ld_depth_key = leading<Element>(depth_key);
  const long ld_depth_value = leading<Element>(depth_value);
  const long ld_key = round_up(d_key, 2 * width) + width;      ///< of products whose vectors run along d_key
  const long ld_value = round_up(d_value, 2 * width) + width;  ///< and along d_value
  const bool modified = call.added.any;
  const bool pools = call.bins > 0;
  const Capped<S> capped{call};
  const PooledMap map{call, item};

  // Of the tile of keys.
  Element* keys;        ///< [most_keys, depth_key]
  Element* values;      ///< [most_keys, depth_value]
  Element* key_depths;  ///< [most_keys in elements, d_key]; where elements are numbers, it is `keys`
  S* d_keys;            ///< [most_keys, ld_key]
  S* d_values;          ///< [most_keys, ld_value]
  // Of the tile of rows.
  Element* queries;     ///< [groups, depth_key, group]
  Element* d_out;       ///< [groups, depth_value, group]
  Element* query_rows;  ///< [most_rows in elements, ld_key]
  Element* d_out_rows;  ///< [most_rows in elements, ld_value]
  S* shift;             ///< [most_rows]: log-sum-exp to base 2
  S* delta;             ///< [most_rows]
  // Of both.
  S* scores;              ///< [most_keys, group]
  S* d_weights;           ///< [most_keys, group]
  Element* weights;       ///< [most_keys, most_rows in elements]: P D
  Element* d_scores;      ///< [most_keys, most_rows in elements]
  Element* d_score_keys;  ///< [most_keys in elements, group]: dS of one group; where elements are numbers, in d_scores
  // Of the item.
  S* d_queries;  ///< [all groups, d_key, group]
  S* terms;      ///< [most_keys, group]: what is added to the scores of one group
  S* d_terms;    ///< [most_keys, group]: its gradient
  S* received;   ///< [most_keys, group]: sums of weights, lane by lane
  S* plain;      ///< [most_keys, group]: P of one group
  Vector<S> d_scale = {};
  Vector<S> d_soft_cap = {};
  DropoutMask<S> dropout;
  TileMask<S> masks[row_tile / group];

  Backward(const Call& c, const Item& i) : call(c), item(i) { allocate(*this); }

  long ld_rows() const { return most_rows / step + (step == 2 ? 16 : width); }
  long groups() const { return (rows + group - 1) / group; }

  void carve(Carver& carver) {
    const long padded_keys = round_up(most_keys, at_least(block, step));
    keys = carver.take<Element>(padded_keys * ld_depth_key);
    values = carver.take<Element>(padded_keys * ld_depth_value);
    key_depths = step == 2 ? carver.take<Element>(padded_keys / step * ld_key) : keys;
    d_keys = carver.take<S>(padded_keys * ld_key);
    d_values = carver.take<S>(padded_keys * ld_value);
    queries = carver.take<Element>(most_rows * depth_key);
    d_out = carver.take<Element>(most_rows * depth_value);
    query_rows = carver.take<Element>(most_rows / step * ld_key);
    d_out_rows = carver.take<Element>(most_rows / step * ld_value);
    shift = carver.take<S>(most_rows);
    delta = carver.take<S>(most_rows);
    scores = carver.take<S>(padded_keys * group);
    d_weights = carver.take<S>(padded_keys * group);
    weights = carver.take<Element>(padded_keys * ld_rows());
    d_scores = carver.take<Element>(padded_keys * ld_rows());
    d_score_keys = step == 2 ? carver.take<Element>(padded_keys / step * group) : nullptr;
    d_queries = item.partial != nullptr ? static_cast<S*>(item.partial) : carver.take<S>(groups() * d_key * group);
    if (call.key_mass != nullptr) received = carver.take<S>(most_keys * group);
    if (pools) plain = carver.take<S>(most_keys * group);
    if (modified) terms = carver.take<S>(most_keys * group);
    if (modified) d_terms = carver.take<S>(most_keys * group);
    if (call.drop_below > 0) dropout.carve(carver);
  }

  /// Packs rows [first_row, first_row + count) of an operand in both directions.
  void pack_rows(const Operand& operand, long first_row, long count, long d, Element* by_depth, Element* by_row,
                 long ld) {
    for (long r = 0; r < count; r += group) {
      const RowPointers<const T, S> from(item, operand, first_row + r, d);
      const long present = at_most(group, count - r);
      if (present < group) clear(by_depth + r * elements_of<T>(d), group * elements_of<T>(d));
      pack_group<T>(from.rows, present, d, by_depth + r * elements_of<T>(d));
      for (long i = 0; i < present; i += step) {
        const T* next = step == 2 && i + 1 < present ? from.rows[i + 1] : nullptr;
        pack_depth_row(from.rows[i], next, d, by_row + (r + i) / step * ld);
      }
    }
  }

  void load_rows(long first_row, long count) {
    pack_rows(call.q, first_row, count, d_key, queries, query_rows, ld_key);
    pack_rows(call.d_out, first_row, count, d_value, d_out, d_out_rows, ld_value);
    for (long r = 0; r < round_up(count, group); ++r) {
      const bool present = r < count;
      const long at = present ? statistic_index(call, row_of(item, first_row + r)) : 0;
      shift[r] = present ? shift_of(static_cast<const S*>(call.log_sum_exp)[at]) : infinity<S>;
      delta[r] = present ? static_cast<const S*>(call.delta)[at] : S(0);
    }
  }

  /// P D and dS of key j in vector v.
  struct Derivative {
    Vector<S> weight;
    Vector<S> d_score;
  };
  RAPT_INLINE Derivative differentiate(const Sight& sight, const TileMask<S>& mask, long j, int v, Vector<S> row_shift,
                                       Vector<S> row_delta) {
    const long place = j * group + v * width;
    const Vector<S> product = load(scores + place);
    const Vector<S> exponent = modified
                                   ? (capped(product) + load(terms + place)) * static_cast<S>(log2_of_e) - row_shift
                                   : product * static_cast<S>(call.scale * log2_of_e) - row_shift;
    Vector<S> p = exp2(exponent);
    if (sight.kind == 1) p = mask(j, v) ? p : Vector<S>{};
    if (call.key_mass != nullptr) store(load(received + place) + p, received + place);
    if (pools) store(p, plain + place);
    Vector<S> kept = p;
    Vector<S> d_weight = load(d_weights + place);
    if (call.drop_below > 0) {
      const S keep_scale = static_cast<S>(call.keep_scale);
      const Mask<S> keep = dropout.kept(call, j, v);
      kept = keep ? p * keep_scale : Vector<S>{};
      d_weight = keep ? d_weight * keep_scale : Vector<S>{};
    }
    const Vector<S> d_score = p * (d_weight - row_delta);
    if (!modified) return {kept, d_score * static_cast<S>(call.scale)};
    store(d_score, d_terms + place);
    const auto slopes = capped.slopes(product);
    const Vector<S> d_scaled = d_score * slopes.score;
    d_scale += d_scaled * product;
    d_soft_cap += d_score * slopes.cap;
    return {kept, d_scaled * static_cast<S>(call.scale)};
  }

  /// Stores a value of vector v of a group as elements of row j of [most_keys, rows].
  RAPT_INLINE void store_rows(Vector<S> value, Element* matrix, long j, long first_row, int v) const {
    if constexpr (step == 2) {
      store(value, reinterpret_cast<bf16*>(matrix + j * ld_rows()) + first_row + v * width);
    } else {
      store(value, matrix + j * ld_rows() + first_row + v * width);
    }
  }

  /// From scores and dP of a group to P D and dS.
  template <int vectors>
  void differentiate_group(const Sight& sight, const TileMask<S>& mask, long first_row) {
    Vector<S> row_shift[vectors], row_delta[vectors];
    for (int v = 0; v < vectors; ++v) {
      row_shift[v] = load(shift + first_row + v * width);
      row_delta[v] = load(delta + first_row + v * width);
    }
    for (long j = 0; j < sight.keys; j += step) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        const Derivative first = differentiate(sight, mask, j, v, row_shift[v], row_delta[v]);
        store_rows(first.weight, weights, j, first_row, v);
        store_rows(first.d_score, d_scores, j, first_row, v);
        if constexpr (step == 2) {
          Derivative second{};
          if (j + 1 < sight.keys) {
            second = differentiate(sight, mask, j + 1, v, row_shift[v], row_delta[v]);
            store_rows(second.weight, weights, j + 1, first_row, v);
            store_rows(second.d_score, d_scores, j + 1, first_row, v);
          }
          store(pair_up(first.d_score, second.d_score), d_score_keys + j / 2 * group + v * width);
        }
      }
    }
  }

  /// Rows of zeros from key `begin` to `end` for the group at first_row: what it does not see has no part in the sums
  /// over rows.
  void clear_unseen(long begin, long end, long first_row) {
    for (long j = begin; j < end; ++j) {
      for (int v = 0; v < 2; ++v) {
        store_rows(Vector<S>{}, weights, j, first_row, v);
        store_rows(Vector<S>{}, d_scores, j, first_row, v);
      }
    }
  }

  template <int vectors>
  void group_step(const Sight& sight, long all_row, long first_row, long first_key) {
    Product<T> product{.a = keys,
                       .lda = ld_depth_key,
                       .b = queries + first_row * depth_key,
                       .ldb = group,
                       .c = scores,
                       .ldc = group,
                       .depth = depth_key,
                       .rows = sight.keys};
    write_product<T, vectors, false>(product);
    product.a = values;
    product.lda = ld_depth_value;
    product.b = d_out + first_row * depth_value;
    product.c = d_weights;
    product.depth = depth_value;
    write_product<T, vectors, false>(product);
    const long present = at_most(group, rows - all_row - first_row);
    if (modified) fill_terms(call, item, all_row + first_row, present, first_key, sight.keys, terms);
    differentiate_group<vectors>(sight, masks[first_row / group], first_row);
    if (call.key_mass != nullptr && !lanes_keep_heads()) add_received(all_row + first_row, first_key, sight.keys);
    if (pools) pool(all_row + first_row, present, first_key, sight.keys);
    if (modified) add_term_gradients(call, item, all_row + first_row, present, first_key, sight.keys, d_terms);
    add_product<T, vectors, true>({.a = key_depths,
                                   .lda = step == 2 ? ld_key : ld_depth_key,
                                   .b = step == 2 ? d_score_keys : d_scores + first_row,
                                   .ldb = step == 2 ? group : ld_rows(),
                                   .c = d_queries + (all_row + first_row) * d_key,
                                   .ldc = group,
                                   .depth = elements_of<T>(sight.keys),
                                   .rows = d_key});
  }

  /// c[keys, d] += a[keys, rows] b[rows, d]
  void add_over_rows(const Element* a, const Element* b, long ldb, S* c, long ldc, long seen, long count, long d) {
    Product<T> product{
        .a = a, .lda = ld_rows(), .b = b, .ldb = ldb, .c = c, .ldc = ldc, .depth = elements_of<T>(count), .rows = seen};
    long column = 0;
    for (; column + width < d; column += 2 * width) {
      product.b = b + column;
      product.c = c + column;
      add_product<T, 2, false>(product);
    }
    if (column < d) {
      product.b = b + column;
      product.c = c + column;
      add_product<T, 1, false>(product);
    }
  }

  void rows_step(long first_row, long count, long first_key, long key_count) {
    Sight sights[row_tile / group];
    long most = 0;
    for (long r = 0; r < count; r += group) {
      Sight& sight = sights[r / group];
      sight = see(call, item, first_row + r, at_most(group, count - r), first_key, key_count, masks[r / group]);
      most = at_least(most, sight.keys);
    }
    if (most == 0) return;
    load_rows(first_row, count);
    for (long r = 0; r < count; r += group) {
      const Sight& sight = sights[r / group];
      const long present = at_most(group, count - r);
      if (sight.keys > 0) {
        if (call.drop_below > 0) dropout.draw(call, item, first_row + r, present, first_key, sight.keys);
        if (present > width) {
          group_step<2>(sight, first_row, r, first_key);
        } else {
          group_step<1>(sight, first_row, r, first_key);
        }
      }
      clear_unseen(sight.keys, most, r);
    }
    add_over_rows(weights, d_out_rows, ld_value, d_values, ld_value, most, count, d_value);
    add_over_rows(d_scores, query_rows, ld_key, d_keys, ld_key, most, count, d_key);
  }

  /// Whether a lane stands for the same head in every group.
  bool lanes_keep_heads() const {
    return group % item.heads == 0;
  }

  /// Brings what the keys received in a group that begins at row `row` to key_mass.
  void add_received(long row, long first_key, long count) {
    for (long j = 0; j < count; ++j) {
      float* const mass = call.key_mass + (item.key_begin + first_key + j) * call.heads + item.head;
      for (long lane = 0; lane < group; ++lane) {
        mass[(row + lane) % item.heads] += static_cast<float>(received[j * group + lane]);
      }
    }
    clear(received, count * group);
  }

  /// Brings the weights of a group that begins at row `row` to the pooled map.
  void pool(long row, long count, long first_key, long key_count) {
    map.each_part(first_key, first_key + key_count, item.key_count, [&](long bin, long begin, long end) {
      Vector<S> sums[2] = {};
      for (long j = begin - first_key; j < end - first_key; ++j) {
        for (int v = 0; v < 2; ++v) sums[v] += load(plain + j * group + v * width);
      }
      map.add_rows<S>(row, count, bin, sums);
    });
  }

  void keys_step(long first_key, long count) {
    if (call.key_mass != nullptr) {
      clear(received, count * group);
      for (long j = 0; j < count; ++j) {
        clear(call.key_mass + (item.key_begin + first_key + j) * call.heads + item.head, item.heads);
      }
    }
    pack_keys<T>(call, item, call.k, first_key, count, d_key, keys, ld_depth_key);
    pack_keys<T>(call, item, call.v, first_key, count, d_value, values, ld_depth_value);
    if (step == 2) pack_values<T>(call, item, call.k, first_key, count, d_key, key_depths, ld_key);
    clear(d_keys, count * ld_key);
    clear(d_values, count * ld_value);
    for (long row = 0; row < rows; row += row_tile) {
      rows_step(row, at_most(row_tile, rows - row), first_key, count);
    }
    if (call.key_mass != nullptr && lanes_keep_heads()) add_received(0, first_key, count);
    for (long j = 0; j < count; ++j) {
      const long token = item.key_begin + first_key + j;
      unpack_row(d_keys + j * ld_key, d_key, element<T>(call.dk, token, item.kv_head, d_key));
      unpack_row(d_values + j * ld_value, d_value, element<T>(call.dv, token, item.kv_head, d_value));
    }
  }

  RAPT_INLINE void unpack_row(const S* row, long d, T* result) {
    long i = 0;
    for (; i + width <= d; i += width) store(load(row + i), result + i);
    if (i < d) store_part(load(row + i), result + i, static_cast<int>(d - i));
  }

  void run() {
    if (pools) map.begin();
    clear(d_queries, groups() * d_key * group);
    for (long key = item.first_key; key < item.first_key + item.keys; key += tile_keys) {
      keys_step(key, at_most(tile_keys, item.first_key + item.keys - key));
    }
    if (modified) {
      const SharedGradients<S> shared(item);
      *shared.scale += kernels::sum(d_scale);
      *shared.soft_cap += kernels::sum(d_soft_cap);
    }
    if (item.partial == nullptr) write_d_queries<T>(call, item, d_queries);
  }
};

/// d_queries: [groups, d_key, group].
template <typename T>
void write_d_queries(const Call& call, const Item& item, const typename Numbers<T>::S* d_queries) {
  using S = typename Numbers<T>::S;
  constexpr long group = group_rows<S>;
  S ones[group];
  for (long r = 0; r < group; ++r) ones[r] = 1;
  for (long row = 0; row < rows_of(item); row += group) {
    const RowPointers<T, S> dq(item, call.dq, row, call.d_key);
    unpack_group<T>(d_queries + row * call.d_key, ones, dq.rows, dq.count, call.d_key);
  }
}

/// Adds up the shares of dQ in their order and writes dq.
template <typename T>
void add_shares(const Call& call, const Item& item) {
  using S = typename Numbers<T>::S;
  const long size = round_up(rows_of(item), group_rows<S>) * call.d_key;
  S* sum = static_cast<S*>(item.partial);
  for (long share = 1; share < item.parts; ++share) {
    const S* next = sum + share * size;
    for (long i = 0; i < size; i += Simd<S>::width) store(load(sum + i) + load(next + i), sum + i);
  }
  write_d_queries<T>(call, item, sum);
}

template <typename T>
void delta(const Call& call, const Item& item) {
  using S = typename Numbers<T>::S;
  const long d = call.d_value;
  for (long r = 0; r < rows_of(item); ++r) {
    const Row row = row_of(item, r);
    const T* out = element<const T>(call.out, row.token, row.head, d);
    const T* d_out = element<const T>(call.d_out, row.token, row.head, d);
    Vector<S> total = {};
    for (long i = 0; i < d; i += Simd<S>::width) {
      total += load_at_most(out + i, d - i) * load_at_most(d_out + i, d - i);
    }
    static_cast<S*>(call.delta)[statistic_index(call, row)] = kernels::sum(total);
  }
}

}  // namespace

void delta_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) delta<decltype(type)>(call, items[i]);
  });
}

void backward_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) Backward<decltype(type)>(call, items[i]).run();
  });
}

void add_shares_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) add_shares<decltype(type)>(call, items[i]);
  });
}

}  // namespace rapt::attention::RAPT_ISA
