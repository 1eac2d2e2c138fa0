/// Few queries over many keys, as in decoding: each key and value is read once, for all rows that use it, and vectors
/// run along the width of the heads. A part of the keys gives a maximum, a sum and weighted values, which merge in the
/// order of the parts ("Flash-Decoding", Dao et al. 2023).
#include "attention/added_scores.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// Keys that are done head after head, so that memory is read nearly in order.
constexpr long block_keys = 64;
/// Vectors of values that are summed up together, for up to four rows.
constexpr int value_vectors = lanes == 16 ? 4 : 2;

/// What an item leaves for one row: [maximum to base 2, sum, d_value weighted values].
RAPT_INLINE long part_size(const Call& call) {
  return 2 + call.d_value;
}

template <typename T>
struct Decode {
  using S = typename Numbers<T>::S;
  using Element = typename Numbers<T>::Element;
  static constexpr int width = Simd<S>::width;
  static constexpr long step = Numbers<T>::step;

  const Call& call;
  const Item& item;                 ///< of all heads; item.heads are those that share a key-value head
  const long rows = rows_of(item);  ///< of one key-value head
  const long ld_keys = round_up(item.keys, block_keys);
  const long ld_query = round_up(elements_of<T>(call.d_key), width);
  const long ld_sums = round_up(call.d_value, width);
  const bool modified = call.added.any;
  const S scale = static_cast<S>(modified ? log2_of_e : call.scale * log2_of_e);

  Element* queries;  ///< [kv_heads, rows, d_key in elements]
  S* scores;         ///< [kv_heads, rows, keys]: then the weights
  S* sums;           ///< [kv_heads, rows, d_value]
  S* maximum;        ///< [kv_heads, rows]
  S* total;          ///< [kv_heads, rows]
  uint8_t* seen;     ///< [blocks]: whether anything of the block is visible

  Decode(const Call& c, const Item& i) : call(c), item(i) { allocate(*this); }

  void carve(Carver& carver) {
    queries = carver.take<Element>(call.kv_heads * rows * ld_query);
    scores = carver.take<S>(call.kv_heads * rows * ld_keys);
    sums = carver.take<S>(call.kv_heads * rows * ld_sums);
    maximum = carver.take<S>(call.kv_heads * rows);
    total = carver.take<S>(call.kv_heads * rows);
    seen = carver.take<uint8_t>(ld_keys / block_keys);
  }

  /// The item as one of key-value head `head`.
  Item of_head(long head) const {
    Item one = item;
    one.kv_head = static_cast<int32_t>(head);
    one.head = static_cast<int32_t>(head) * item.heads;
    return one;
  }

  RAPT_INLINE static auto load_elements(const T* row, long n) {
    if constexpr (step == 2) {
      return reinterpret_cast<U32>(load_line(row, n));
    } else {
      return load_at_most(row, n);
    }
  }

  /// The products of row_count rows with width / row_count keys: lane (row, key).
  template <int row_count>
  RAPT_INLINE Vector<S> products(const Element* q, const T* const* k) const {
    constexpr int key_count = width / row_count;
    constexpr long line = width * step;
    Vector<S> sum[width] = {};
    for (long i = 0; i < call.d_key; i += line) {
      decltype(load(q)) query[row_count];
#pragma GCC unroll 4
      for (int r = 0; r < row_count; ++r) query[r] = load(q + r * ld_query + i / step);
#pragma GCC unroll 16
      for (int j = 0; j < key_count; ++j) {
        const auto key = load_elements(k[j] + i, call.d_key - i);
#pragma GCC unroll 4
        for (int r = 0; r < row_count; ++r) {
          sum[r * key_count + j] = multiply_add(sum[r * key_count + j], query[r], key);
        }
      }
    }
    add_lanes<width / 2>(sum);
    return sum[0];
  }

  /// Leaves the sum of the lanes of v[i] in lane i of v[0].
  template <int half>
  RAPT_INLINE static void add_lanes(Vector<S>* v) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      exchange<half, S>(v[i], v[i + half]);
      v[i] += v[i + half];
    }
    if constexpr (half > 1) add_lanes<half / 2>(v);
  }

  /// Scores of rows [row, row + row_count) of a head and a block of keys.
  template <int row_count>
  void score_rows(long head, long row, const T* const* k, long first, long count) {
    constexpr int key_count = width / row_count;
    const Element* q = queries + (head * rows + row) * ld_query;
    S* result = scores + (head * rows + row) * ld_keys + first;
    for (long j = 0; j < count; j += key_count) {
      const Vector<S> v = products<row_count>(q, k + j);
#pragma GCC unroll 4
      for (int r = 0; r < row_count; ++r) {
        memcpy(result + r * ld_keys + j, reinterpret_cast<const S*>(&v) + r * key_count, key_count * sizeof(S));
      }
    }
  }

  /// Calls function(Rows<4, 2 or 1>, row) for all rows of a head.
  template <int count>
  struct Rows {
    static constexpr int value = count;
  };
  template <typename Function>
  RAPT_INLINE void for_rows(Function function) {
    long row = 0;
    if constexpr (width >= 4) {
      for (; row + 4 <= rows; row += 4) function(Rows<4>{}, row);
    }
    for (; row + 2 <= rows; row += 2) function(Rows<2>{}, row);
    if (row < rows) function(Rows<1>{}, row);
  }

  /// Row pointers of a block of keys; those after the last repeat it, and what comes of them is not used.
  RAPT_INLINE void find_rows(const Item& of, const Operand& operand, long first, long count, long d,
                             const T** result) const {
    for (long j = 0; j < block_keys; ++j) {
      result[j] = key_row<T>(call, of, operand, item.first_key + first + at_most(j, count - 1), d);
    }
  }

  bool visible(long first, long count) const {
    const long key = item.first_key + first;
    if (call.pattern.kind == Pattern::full) return true;
    if (call.pattern.kind == Pattern::causal) return causal_keys(item, item.queries - 1) > key;
    return call.pattern.classify(call.pattern.visibility, item, 0, item.queries, key, key + count) != 0;
  }

  /// Bit j: whether the query sees key first + j of the item.
  uint64_t visible_bits(long query, long first) const {
    const long key = item.first_key + first;
    if (call.pattern.kind == Pattern::general) return call.pattern.bits(call.pattern.visibility, item, query, key);
    const long most = at_most(at_least(causal_keys(item, query) - key, 0), block_keys);
    return most == 64 ? ~uint64_t{0} : (uint64_t{1} << most) - 1;
  }

  /// From the products of a block to scores with all that is added to them.
  void modify(long first, long count) {
    const Capped<S> capped(call);
    for (long head = 0; head < call.kv_heads; ++head) {
      const Item of = of_head(head);
      for (long r = 0; r < rows; ++r) {
        const RowTerms<S> terms(call, item, row_of(of, r));
        S* s = scores + (head * rows + r) * ld_keys + first;
        for (long j = 0; j < count; j += width) {
          store(capped(load(s + j)) + terms(item.first_key + first + j, count - j), s + j);
        }
      }
    }
  }

  void hide(long first) {
    for (long r = 0; r < rows; ++r) {
      const uint64_t bits = visible_bits(r / item.heads, first);
      if (~bits == 0) continue;
      for (long head = 0; head < call.kv_heads; ++head) {
        S* s = scores + (head * rows + r) * ld_keys + first;
        for (long j = 0; j < block_keys; ++j) {
          if (((bits >> j) & 1) == 0) s[j] = static_cast<S>(-__builtin_inf());
        }
      }
    }
  }

  void score() {
    for (long first = 0; first < item.keys; first += block_keys) {
      const long count = at_most(block_keys, item.keys - first);
      seen[first / block_keys] = visible(first, count);
      if (!seen[first / block_keys]) continue;
      for (long head = 0; head < call.kv_heads; ++head) {
        const T* k[block_keys];
        find_rows(of_head(head), call.k, first, count, call.d_key, k);
        for_rows([&](auto n, long row) { score_rows<decltype(n)::value>(head, row, k, first, count); });
      }
      if (modified) modify(first, count);
      if (call.pattern.kind != Pattern::full) hide(first);
    }
  }

  /// Calls function(first, count) for the blocks of which anything is visible.
  template <typename Function>
  RAPT_INLINE void for_blocks(Function function) const {
    for (long first = 0; first < item.keys; first += block_keys) {
      if (seen[first / block_keys]) function(first, at_most(block_keys, item.keys - first));
    }
  }

  /// From the scores of one row to weights.
  void exponentiate(long row) {
    S* s = scores + row * ld_keys;
    Vector<S> highest = broadcast(no_maximum<S>);
    for_blocks([&](long first, long count) {
      for (long j = 0; j < block_keys; j += width) {
        // What lies beyond the last key must have no weight.
        const Vector<S> v = lanes_below<S>(count - j) ? load(s + first + j) * scale : minus_infinity<S>();
        store(v, s + first + j);
        highest = max(highest, v);
      }
    });
    S m = no_maximum<S>;
    const S found = kernels::maximum(highest);
    if (!(found <= m)) m = found;
    Vector<S> sum = {};
    for_blocks([&](long first, long) {
      for (long j = 0; j < block_keys; j += width) {
        const Vector<S> p = exp2(load(s + first + j) - m);
        sum += p;
        store(p, s + first + j);
      }
    });
    maximum[row] = m;
    total[row] = kernels::sum(sum);
  }

  /// Adds `row_count` rows of weights [., block_keys] times `vectors` vectors of values.
  template <int row_count, int vectors>
  RAPT_INLINE void add_columns(const S* p, const T* const* v, long count, long column, S* result) const {
    Vector<S> sum[row_count][vectors] = {};
    const bool whole = column + vectors * width <= call.d_value;
    for (long j = 0; j < count; ++j) {
      Vector<S> value[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        const long at = column + i * width;
        value[i] = whole ? load(v[j] + at) : load_at_most(v[j] + at, call.d_value - at);
      }
#pragma GCC unroll 4
      for (int r = 0; r < row_count; ++r) {
        const Vector<S> weight = broadcast(p[r * ld_keys + j]);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) sum[r][i] = multiply_add(sum[r][i], weight, value[i]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        S* to = result + r * ld_sums + column + i * width;
        store(load(to) + sum[r][i], to);
      }
    }
  }

  template <int row_count>
  void add_rows(long head, long row, const T* const* v, long first, long count) {
    const S* p = scores + (head * rows + row) * ld_keys + first;
    S* result = sums + (head * rows + row) * ld_sums;
    long column = 0;
    for (; column + (value_vectors - 1) * width < call.d_value; column += value_vectors * width) {
      add_columns<row_count, value_vectors>(p, v, count, column, result);
    }
    for (; column < call.d_value; column += width) add_columns<row_count, 1>(p, v, count, column, result);
  }

  void add_values() {
    clear(sums, call.kv_heads * rows * ld_sums);
    for_blocks([&](long first, long count) {
      for (long head = 0; head < call.kv_heads; ++head) {
        const T* v[block_keys];
        find_rows(of_head(head), call.v, first, count, call.d_value, v);
        for_rows([&](auto n, long row) { add_rows<decltype(n)::value>(head, row, v, first, count); });
      }
    });
  }

  void run() {
    for (long row = 0; row < call.kv_heads * rows; ++row) {
      const Row at = row_of(of_head(row / rows), row % rows);
      pack_row(element<const T>(call.q, at.token, at.head, call.d_key), call.d_key, queries + row * ld_query);
    }
    score();
    for (long row = 0; row < call.kv_heads * rows; ++row) exponentiate(row);
    add_values();
    S* part = static_cast<S*>(item.partial);
    for (long row = 0; row < call.kv_heads * rows; ++row, part += part_size(call)) {
      part[0] = maximum[row];
      part[1] = total[row];
      memcpy(part + 2, sums + row * ld_sums, static_cast<unsigned long>(call.d_value) * sizeof(S));
    }
  }
};

/// out and log_sum_exp of all rows of a sequence from item.parts parts.
template <typename T>
void merge_parts(const Call& call, const Item& item) {
  using S = typename Numbers<T>::S;
  constexpr int width = Simd<S>::width;
  const long rows = rows_of(item);
  const long size = part_size(call);
  const long stride = call.kv_heads * rows * size;
  for (long row = 0; row < call.kv_heads * rows; ++row) {
    Item one = item;
    one.kv_head = static_cast<int32_t>(row / rows);
    one.head = one.kv_head * item.heads;
    const Row at = row_of(one, row % rows);
    S* first = static_cast<S*>(item.partial) + row * size;
    S maximum = no_maximum<S>;
    for (long i = 0; i < item.parts; ++i) maximum = first[i * stride] <= maximum ? maximum : first[i * stride];
    S total = 0;
    for (long i = 0; i < item.parts; ++i) {
      S* part = first + i * stride;
      const S factor = exp2(broadcast(part[0] - maximum))[0];
      total += part[1] * factor;
      for (long c = 0; c < call.d_value; ++c)
        first[2 + c] = i == 0 ? part[2 + c] * factor : first[2 + c] + part[2 + c] * factor;
    }
    const RowSum<S> sum = with_sink(call, at.head, maximum, total);
    T* out = element<T>(call.out, at.token, at.head, call.d_value);
    for (long c = 0; c < call.d_value; c += width) {
      const long n = at_most(width, call.d_value - c);
      const Vector<S> v = load_at_most(first + 2 + c, n) * sum.factor;
      if (n == width) {
        store(v, out + c);
      } else {
        store_part(v, out + c, static_cast<int>(n));
      }
    }
    if (call.log_sum_exp != nullptr) static_cast<S*>(call.log_sum_exp)[statistic_index(call, at)] = sum.log_sum_exp;
  }
}

}  // namespace

void decode_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) Decode<decltype(type)>(call, items[i]).run();
  });
}

void merge_items(const Call& call, const Item* items, std::int64_t count) {
  with_type(call, [&](auto type) {
    for (long i = 0; i < count; ++i) merge_parts<decltype(type)>(call, items[i]);
  });
}

}  // namespace rapt::attention::RAPT_ISA
