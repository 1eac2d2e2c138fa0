/// Few queries over many keys, as in decoding: each key and value is read once, for all rows that use it, and vectors
/// run along the width of the heads. A part of the keys gives a maximum, a sum and weighted values, which merge in the
/// order of the parts ("Flash-Decoding", Dao et al. 2023). Memory is the limit, and processors read it fastest in its
/// order: so keys and values are walked a few rows at a time, all heads of them, while the rows that follow are
/// fetched.
#include "attention/added_scores.h"

namespace rapt::attention::RAPT_ISA {
namespace {

constexpr long block_keys = 16;
/// Keys that are walked together.
constexpr long group_keys = 4;
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
  /// Vectors of one row's scores.
  static constexpr int vectors = block_keys / width;
  /// Keys whose values are summed up together: rows of pairs are half as long.
  static constexpr long group_values = group_keys * step;
  static constexpr long block_elements = block_keys / step;
  /// A row's maximum is raised only when a score exceeds it by more than this: weights then stay below 2^8.
  static constexpr S slack = 8;

  /// Where the rows of a block lie, and those of the next one, of key-value head 0. After the last row it is repeated.
  struct Block {
    const T* rows[2 * block_keys];

    RAPT_INLINE void advance() { memcpy(rows, rows + block_keys, block_keys * sizeof *rows); }
  };

  const Call& call;
  const Item& item;                 ///< of all heads; item.heads are those that share a key-value head
  const long rows = rows_of(item);  ///< of one key-value head
  const long all_rows = rows * call.kv_heads;
  const long ld_query = round_up(elements_of<T>(call.d_key), width);
  const long ld_sums = round_up(call.d_value, step* width);
  const bool modified = call.added.any;
  const S scale = static_cast<S>(modified ? log2_of_e : call.scale * log2_of_e);

  Element* queries;  ///< [kv_heads, rows, d_key in elements]
  S* scores;         ///< [kv_heads, rows, block_keys]
  Element* weights;  ///< [kv_heads, rows, block_keys in elements]
  S* sums;           ///< [kv_heads, rows, d_value], columns as load_values lays them
  S* maximum;        ///< [kv_heads, rows]: what exponents are relative to
  S* total;          ///< [kv_heads, rows, width]: partial sums of the weights

  Decode(const Call& c, const Item& i) : call(c), item(i) { allocate(*this); }

  void carve(Carver& carver) {
    queries = carver.take<Element>(all_rows * ld_query);
    scores = carver.take<S>(all_rows * block_keys);
    weights = carver.take<Element>(all_rows * block_elements);
    sums = carver.take<S>(all_rows * ld_sums);
    maximum = carver.take<S>(all_rows);
    total = carver.take<S>(all_rows * width);
  }

  /// The item as one of key-value head `head`.
  Item of_head(long head) const {
    Item one = item;
    one.kv_head = static_cast<int32_t>(head);
    one.head = static_cast<int32_t>(head) * item.heads;
    return one;
  }

  /// Finds the rows of the block of keys from `first` of the sequence on.
  RAPT_INLINE void find(const Operand& operand, long first, long d, const T** rows_found) const {
    for (long j = 0; j < block_keys; ++j) {
      rows_found[j] = key_row<T>(call, item, operand, at_most(first + j, item.key_count - 1), d);
    }
  }

  /// Walks over the rows of a block and the next one, a group ahead of the work, and fetches them in their order.
  struct Fetch {
    const T* const* row;
    const T* const* end;
    long size;   ///< of a row, in elements
    long share;  ///< of a group for one head, in elements
    long at = 0;

    /// Fetches the share of one head. (A share at once was faster than a line for each that the work reads.)
    RAPT_INLINE void next() {
      constexpr long line = 64 / sizeof(T);
      for (long i = 0; i < share && row < end; i += line) {
        __builtin_prefetch(*row + at);
        at += line;
        if (at >= size) {
          at = 0;
          ++row;
        }
      }
    }
  };
  RAPT_INLINE Fetch fetch(const Block& now, long group, long d) const {
    return {.row = now.rows + group, .end = now.rows + 2 * block_keys, .size = call.kv_heads * d, .share = group * d};
  }

  RAPT_INLINE static auto load_elements(const T* row, long n) {
    if constexpr (step == 2) {
      return reinterpret_cast<U32>(load_line(row, n));
    } else {
      return load_at_most(row, n);
    }
  }

  /// Scores of row_count rows, as far as products go, for a group of keys.
  template <int row_count>
  RAPT_INLINE static void score_rows(const Element* q, long ld, const T* const* keys, long offset, long d, S* result) {
    constexpr int key_count = row_count * group_keys < width ? group_keys : width / row_count;
    constexpr int products = row_count * key_count;
    constexpr long line = width * step;
    for (long j = 0; j < group_keys; j += key_count) {
      Vector<S> sum[products] = {};
      const T* k[key_count];
#pragma GCC unroll 4
      for (int i = 0; i < key_count; ++i) k[i] = keys[j + i] + offset;
      const auto add = [&](long i, long n) __attribute__((always_inline)) {
        decltype(load(q)) query[row_count];
#pragma GCC unroll 4
        for (int r = 0; r < row_count; ++r) query[r] = load(q + r * ld + i / step);
#pragma GCC unroll 4
        for (int x = 0; x < key_count; ++x) {
          const auto key = load_elements(k[x] + i, n);
#pragma GCC unroll 4
          for (int r = 0; r < row_count; ++r) {
            sum[r * key_count + x] = multiply_add(sum[r * key_count + x], query[r], key);
          }
        }
      };
      long i = 0;
      for (; i + line <= d; i += line) add(i, line);
      if (i < d) add(i, d - i);
      add_lanes<products, width / 2>(sum);
      const Vector<S> score = gather_lanes<width / products>(sum[0]);
#pragma GCC unroll 4
      for (int r = 0; r < row_count; ++r) {
        memcpy(result + r * block_keys + j, reinterpret_cast<const S*>(&score) + r * key_count, key_count * sizeof(S));
      }
    }
  }

  /// Adds `count` vectors up into v[0], so that blocks of 2 * distance / count lanes belong to v[0], v[1], ...
  template <int count, int distance>
  RAPT_INLINE static void add_lanes(Vector<S>* v) {
    if constexpr (count > 1) {
#pragma GCC unroll 8
      for (int i = 0; i < count / 2; ++i) {
        exchange<distance, S>(v[i], v[i + count / 2]);
        v[i] += v[i + count / 2];
      }
      add_lanes<count / 2, distance / 2>(v);
    }
  }

  /// The sums of each `count` neighbouring lanes, side by side in the first lanes.
  template <int count>
  RAPT_INLINE static Vector<S> gather_lanes(Vector<S> v) {
    if constexpr (count > 1) {
      v = fold_sum<count / 2>(v);
      Mask<S> from;
      for (int i = 0; i < width; ++i) from[i] = i * count % width;
      v = __builtin_shuffle(v, from);
    }
    return v;
  }

  void score(const Block& keys, long count) {
    Fetch ahead = fetch(keys, group_keys, call.d_key);
    for (long j = 0; j < count; j += group_keys) {
      for (long head = 0; head < call.kv_heads; ++head) {
        ahead.next();
        for_rows(head, [&](auto n, long row) {
          score_rows<decltype(n)::value>(queries + row * ld_query, ld_query, keys.rows + j, head * call.d_key,
                                         call.d_key, scores + row * block_keys + j);
        });
      }
    }
  }

  /// Calls function(Rows<4, 2 or 1>, row) for all rows of a head.
  template <int count>
  struct Rows {
    static constexpr int value = count;
  };
  template <typename Function>
  RAPT_INLINE void for_rows(long head, Function function) {
    long row = head * rows;
    const long end = row + rows;
    if constexpr (width >= 4) {
      for (; row + 4 <= end; row += 4) function(Rows<4>{}, row);
    }
    for (; row + 2 <= end; row += 2) function(Rows<2>{}, row);
    if (row < end) function(Rows<1>{}, row);
  }

  bool visible(long first, long count) const {
    if (call.pattern.kind == Pattern::full) return true;
    if (call.pattern.kind == Pattern::causal) return causal_keys(item, item.queries - 1) > first;
    return call.pattern.classify(call.pattern.visibility, item, 0, item.queries, first, first + count) != 0;
  }

  /// Bit j: whether the query sees key first + j of the sequence, for j below count.
  uint64_t visible_bits(long query, long first, long count) const {
    const uint64_t all = (uint64_t{1} << count) - 1;
    if (call.pattern.kind == Pattern::full) return all;
    if (call.pattern.kind == Pattern::general) {
      return call.pattern.bits(call.pattern.visibility, item, query, first) & all;
    }
    const long most = at_most(at_least(causal_keys(item, query) - first, 0), count);
    return (uint64_t{1} << most) - 1;
  }

  /// From the products of a block to scores with all that is added to them.
  void modify(long first, long count) {
    const Capped<S> capped(call);
    for (long head = 0; head < call.kv_heads; ++head) {
      const Item of = of_head(head);
      for (long r = 0; r < rows; ++r) {
        const RowTerms<S> terms(call, item, row_of(of, r));
        S* s = scores + (head * rows + r) * block_keys;
        for (long j = 0; j < count; j += width) store(capped(load(s + j)) + terms(first + j, count - j), s + j);
      }
    }
  }

  void hide(long first, long count) {
    for (long r = 0; r < rows; ++r) {
      const uint64_t bits = visible_bits(r / item.heads, first, count);
      for (long head = 0; head < call.kv_heads; ++head) {
        S* s = scores + (head * rows + r) * block_keys;
        for (long j = 0; j < block_keys; ++j) {
          if (((bits >> j) & 1) == 0) s[j] = static_cast<S>(-__builtin_inf());
        }
      }
    }
  }

  /// From the scores of one row to weights.
  RAPT_INLINE void weigh(long row) {
    const S* s = scores + row * block_keys;
    Vector<S> v[vectors];
    bool grows = false;
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) {
      v[i] = load(s + i * width) * scale;
      grows |= any(v[i] > broadcast(maximum[row] + slack));
    }
    if (grows) raise(row, v);
    const Vector<S> m = broadcast(maximum[row]);
    Vector<S> sum = load(total + row * width);
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) {
      v[i] = exp2(v[i] - m);
      sum += v[i];
    }
    store(sum, total + row * width);
    Element* w = weights + row * block_elements;
    if constexpr (step == 2) {
      bf16 rounded[block_keys];
      store(v[0], rounded);
      memcpy(w, rounded, sizeof rounded);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < vectors; ++i) store(v[i], w + i * width);
    }
  }

  /// Raises a row's maximum to that of the scores v.
  __attribute__((noinline)) void raise(long row, const Vector<S>* v) {
    Vector<S> highest = v[0];
    for (int i = 1; i < vectors; ++i) highest = max(highest, v[i]);
    const S m = kernels::maximum(highest);
    const S factor = exp2(broadcast(maximum[row] - m))[0];
    maximum[row] = m;
    store(load(total + row * width) * factor, total + row * width);
    for (long c = 0; c < ld_sums; c += width) store(load(sums + row * ld_sums + c) * factor, sums + row * ld_sums + c);
  }

  /// `count` vectors of values of the key or, where elements are pairs, of the two keys that `rows` gives; n of them
  /// belong to the head. Pairs come in the order that interleaving halves of 128 bits gives; write_sums undoes it.
  template <int count>
  RAPT_INLINE static void load_values(const T* const* keys, long offset, long n, auto* result) {
    if constexpr (step == 2) {
      typedef uint16_t Halves __attribute__((vector_size(64)));
      Halves low, high;
      for (int i = 0; i < 32; ++i) {
        const int from = i / 8 * 8 + i % 8 / 2 + i % 2 * 32;
        low[i] = static_cast<uint16_t>(from);
        high[i] = static_cast<uint16_t>(from + 4);
      }
#pragma GCC unroll 2
      for (int i = 0; i < count; i += 2) {
        const Halves a = reinterpret_cast<Halves>(load_line(keys[0] + offset + i * width, n - i * width));
        const Halves b = reinterpret_cast<Halves>(load_line(keys[1] + offset + i * width, n - i * width));
        result[i] = reinterpret_cast<U32>(__builtin_shuffle(a, b, low));
        result[i + 1] = reinterpret_cast<U32>(__builtin_shuffle(a, b, high));
      }
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < count; ++i) result[i] = load_at_most(keys[0] + offset + i * width, n - i * width);
    }
  }

  /// Adds the weights of a group of keys times `count` vectors of their values to row_count rows of sums.
  template <int row_count, int count>
  RAPT_INLINE static void add_columns(const Element* w, const T* const* values, long offset, long n, S* result,
                                      long ld) {
    Vector<S> sum[row_count][count];
#pragma GCC unroll 4
    for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < count; ++i) sum[r][i] = load(result + r * ld + i * width);
    }
    const auto add = [&](long columns) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (long j = 0; j < group_values / step; ++j) {
        decltype(load(w)) value[count];
        load_values<count>(values + j * step, offset, columns, value);
#pragma GCC unroll 4
        for (int r = 0; r < row_count; ++r) {
          const auto weight = broadcast(w[r * block_elements + j]);
#pragma GCC unroll 4
          for (int i = 0; i < count; ++i) sum[r][i] = multiply_add(sum[r][i], weight, value[i]);
        }
      }
    };
    if (n >= count * width) {
      add(count * width);
    } else {
      add(n);
    }
#pragma GCC unroll 4
    for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < count; ++i) store(sum[r][i], result + r * ld + i * width);
    }
  }

  template <int row_count>
  RAPT_INLINE static void add_rows(const Element* w, const T* const* values, long offset, long d, S* result, long ld) {
    long c = 0;
    for (; c + value_vectors * width <= ld; c += value_vectors * width) {
      add_columns<row_count, value_vectors>(w, values, offset + c, d - c, result + c, ld);
    }
    for (; c < ld; c += step * width) add_columns<row_count, step>(w, values, offset + c, d - c, result + c, ld);
  }

  void add_values(const Block& values, long count) {
    Fetch ahead = fetch(values, group_values, call.d_value);
    for (long j = 0; j < count; j += group_values) {
      for (long head = 0; head < call.kv_heads; ++head) {
        ahead.next();
        for_rows(head, [&](auto n, long row) {
          add_rows<decltype(n)::value>(weights + row * block_elements + j / step, values.rows + j, head * call.d_value,
                                       call.d_value, sums + row * ld_sums, ld_sums);
        });
      }
    }
  }

  void run() {
    for (long row = 0; row < all_rows; ++row) {
      const Row at = row_of(of_head(row / rows), row % rows);
      pack_row(element<const T>(call.q, at.token, at.head, call.d_key), call.d_key, queries + row * ld_query);
      maximum[row] = no_maximum<S>;
    }
    clear(total, all_rows * width);
    clear(sums, all_rows * ld_sums);
    Block keys, values;
    const long end = item.first_key + item.keys;
    if (item.keys > 0) {
      find(call.k, item.first_key, call.d_key, keys.rows + block_keys);
      find(call.v, item.first_key, call.d_value, values.rows + block_keys);
    }
    for (long first = item.first_key; first < end; first += block_keys) {
      keys.advance();
      values.advance();
      find(call.k, first + block_keys, call.d_key, keys.rows + block_keys);
      find(call.v, first + block_keys, call.d_value, values.rows + block_keys);
      const long count = at_most(block_keys, end - first);
      if (!visible(first, count)) continue;
      score(keys, count);
      if (modified) modify(first, count);
      if (call.pattern.kind != Pattern::full || count < block_keys) hide(first, count);
      for (long row = 0; row < all_rows; ++row) weigh(row);
      add_values(values, count);
    }
    S* part = static_cast<S*>(item.partial);
    for (long row = 0; row < all_rows; ++row, part += part_size(call)) {
      part[0] = maximum[row];
      part[1] = kernels::sum(load(total + row * width));
      write_sums(sums + row * ld_sums, part + 2);
    }
  }

  /// The sums of a row in the order of their columns.
  void write_sums(const S* from, S* to) const {
    if constexpr (step == 2) {
      I32 first, second;
      for (int i = 0; i < width; ++i) {
        const int column = i, later = i + width;
        first[i] = column / 8 * 4 + column % 4 + column % 8 / 4 * width;
        second[i] = later / 8 * 4 + later % 4 + later % 8 / 4 * width;
      }
      for (long c = 0; c < call.d_value; c += 2 * width) {
        const F32 low = load(from + c), high = load(from + c + width);
        const F32 sorted[2] = {__builtin_shuffle(low, high, first), __builtin_shuffle(low, high, second)};
        memcpy(to + c, sorted, static_cast<unsigned long>(at_most(2 * width, call.d_value - c)) * sizeof(S));
      }
    } else {
      memcpy(to, from, static_cast<unsigned long>(call.d_value) * sizeof(S));
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
