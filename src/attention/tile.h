/// Tiles of scores and the products around them. Included by *.isa.cpp only; everything has internal linkage.
///
/// A tile has one key a row and one attention row (a query of one head) a lane: softmax is then made of vertical
/// operations, and keys and values are read as they lie, one number broadcast at a time. Rows come in groups of two
/// vectors.
#pragma once

#include "attention/kernel.h"
#include "attention/numbers.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// Rows of a group.
template <typename S>
constexpr long group_rows = 2 * Simd<S>::width;
/// Rows of a product computed together: with two vectors each they fill half of the registers, which also hides the
/// latency of multiply-adds.
constexpr long block = lanes == 16 ? 8 : 4;

// The product c = a b. Each element is summed over the depth in ascending order by one chain of multiply-adds, whatever
// the rows and vectors it is computed with.

template <typename T>
struct Product {
  using Element = typename Numbers<T>::Element;
  const Element* a;  ///< [rows, depth], or [depth, rows] when transposed; rows readable up to a multiple of `block`
  long lda;
  const Element* b;  ///< [depth, vectors]
  long ldb;
  typename Numbers<T>::S* c;  ///< [rows, vectors]
  long ldc;
  long depth;  ///< in elements
  long rows;
};

/// Calls finish(c, sum, vector) for each vector of c. finish is not called for rows beyond the last.
template <typename T, int vectors, bool transposed, typename Finish>
RAPT_INLINE void multiply(const Product<T>& p, Finish finish) {
  using S = typename Numbers<T>::S;
  constexpr int width = Simd<S>::width;
  for (long row = 0; row < p.rows; row += block) {
    const auto* a = p.a + (transposed ? row : row * p.lda);
    const auto* b = p.b;
    Vector<S> sums[block][vectors] = {};
    for (long k = 0; k < p.depth; ++k, b += p.ldb, a += transposed ? p.lda : 1) {
      decltype(load(b)) line[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) line[v] = load(b + v * width);
#pragma GCC unroll 8
      for (int r = 0; r < block; ++r) {
        const auto x = broadcast(transposed ? a[r] : a[r * p.lda]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sums[r][v] = multiply_add(sums[r][v], x, line[v]);
      }
    }
    const long rows = at_most(block, p.rows - row);
#pragma GCC unroll 8
    for (int r = 0; r < block; ++r) {
      if (r >= rows) break;
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) finish(p.c + (row + r) * p.ldc + v * width, sums[r][v], v);
    }
  }
}

template <typename T, int vectors, bool transposed>
__attribute__((noinline)) void write_product(const Product<T> p) {
  multiply<T, vectors, transposed>(p, [](auto* c, auto sum, int) { store(sum, c); });
}
template <typename T, int vectors, bool transposed>
__attribute__((noinline)) void add_product(const Product<T> p) {
  multiply<T, vectors, transposed>(p, [](auto* c, auto sum, int) { store(load(c) + sum, c); });
}

// Items.

struct Row {
  long query;  ///< within the sequence
  long token;
  long head;
};
RAPT_INLINE Row row_of(const Item& item, long row) {
  const long query = item.first_query + row / item.heads;
  return {query, item.query_begin + query, item.head + row % item.heads};
}
RAPT_INLINE long rows_of(const Item& item) {
  return static_cast<long>(item.queries) * item.heads;
}
RAPT_INLINE long statistic_index(const Call& call, const Row& row) {
  return row.token * call.heads + row.head;
}

template <typename T>
RAPT_INLINE T* element(const Operand& operand, long token, long head, long d) {
  return static_cast<T*>(operand.data) + token * operand.stride + head * d;
}

/// Key `key` of the item's sequence in k or v.
template <typename T>
RAPT_INLINE const T* key_row(const Call& call, const Item& item, const Operand& operand, long key, long d) {
  long token = item.key_begin + key;
  if (call.page_size > 0) {
    token = static_cast<long>(call.page_table[token / call.page_size]) * call.page_size + token % call.page_size;
  }
  return element<const T>(operand, token, item.kv_head, d);
}

// Between storage and tiles.

/// Elements of storage in the bits of one vector: two per lane for bf16, whose pairs are moved as one.
template <typename T>
constexpr long line_elements = sizeof(Vector<typename Simd<T>::Scalar>) / sizeof(T);

/// The bits of the first `n` elements of a row, of line_elements when n is not less; zeros after.
template <typename T>
RAPT_INLINE auto load_line(const T* row, long n) {
  Vector<typename Simd<T>::Scalar> line = {};
  if (n >= line_elements<T>) {
    memcpy(&line, static_cast<const void*>(row), sizeof line);
  } else {
    memcpy(&line, static_cast<const void*>(row), static_cast<unsigned long>(n) * sizeof(T));
  }
  return line;
}

/// The depth of a product over d numbers, in elements.
template <typename T>
RAPT_INLINE long elements_of(long d) {
  return (d + Numbers<T>::step - 1) / Numbers<T>::step;
}

/// One line of elements of up to a vector's width of rows, transposed: result[i, r] is element i of row r.
template <typename T>
RAPT_INLINE void pack_square(const T* const* rows, long count, long begin, long d, typename Numbers<T>::Element* result,
                             long ld) {
  using S = typename Numbers<T>::S;
  constexpr int width = Simd<S>::width;
  Vector<S> v[width];
#pragma GCC unroll 16
  for (int r = 0; r < width; ++r) v[r] = r < count ? load_line(rows[r] + begin, d - begin) : Vector<S>{};
  transpose_square<width / 2, S>(v);
  const long depth = at_most(width, elements_of<T>(d - begin));
  if constexpr (sizeof(T) == sizeof(S)) {
    for (long i = 0; i < depth; ++i) store(v[i], result + i * ld);
  } else if constexpr (Numbers<T>::step == 2) {
    for (long i = 0; i < depth; ++i) store(reinterpret_cast<U32>(v[i]), result + i * ld);
  } else {
    for (long i = 0; i < width && 2 * i < d - begin; ++i) {
      const U32 pairs = reinterpret_cast<U32>(v[i]);
      store(reinterpret_cast<F32>(pairs << 16), result + 2 * i * ld);
      if (2 * i + 1 < d - begin) store(reinterpret_cast<F32>(pairs & 0xffff0000u), result + (2 * i + 1) * ld);
    }
  }
}

/// Packs a group's rows of an operand as the second factor of a product over d: [depth, group_rows]. Lanes without a
/// row are 0.
template <typename T>
RAPT_INLINE void pack_group(const T* const* rows, long count, long d, typename Numbers<T>::Element* result) {
  using S = typename Numbers<T>::S;
  constexpr int width = Simd<S>::width;
  constexpr long line_depth = line_elements<T> / Numbers<T>::step;
  for (long r = 0; r < count; r += width) {
    for (long begin = 0, i = 0; begin < d; begin += line_elements<T>, i += line_depth) {
      pack_square<T>(rows + r, count - r, begin, d, result + i * group_rows<S> + r, group_rows<S>);
    }
  }
}

/// Row pointers of a group of the item's rows in an operand indexed like the queries.
template <typename T, typename S>
struct RowPointers {
  T* rows[group_rows<S>];
  long count;

  RAPT_INLINE RowPointers(const Item& item, const Operand& operand, long first_row, long d)
      : count(at_most(group_rows<S>, rows_of(item) - first_row)) {
    for (long r = 0; r < count; ++r) {
      const Row row = row_of(item, first_row + r);
      rows[r] = element<T>(operand, row.token, row.head, d);
    }
  }
};

/// Leading dimension of a matrix of `columns` elements whose rows are walked in step: not a multiple of what maps to
/// the same few cache sets.
template <typename Element>
RAPT_INLINE long leading(long columns) {
  constexpr long width = static_cast<long>(sizeof(F32) / sizeof(Element));
  return round_up(columns, at_least(width, block)) + width;
}

/// Copies one row of storage as elements along the depth of a product; whole vectors are written.
template <typename T>
RAPT_INLINE void pack_row(const T* row, long d, typename Numbers<T>::Element* result) {
  using S = typename Numbers<T>::S;
  if constexpr (Numbers<T>::step == 2) {
    for (long i = 0; i < d; i += line_elements<T>) {
      store(reinterpret_cast<U32>(load_line(row + i, d - i)), result + i / 2);
    }
  } else {
    for (long i = 0; i < d; i += Simd<S>::width) store(load_at_most(row + i, d - i), result + i);
  }
}

/// Packs keys as the first factor of a product over d: [keys rounded up to `block`, depth]; rows after the last are 0.
template <typename T>
void pack_keys(const Call& call, const Item& item, const Operand& operand, long first_key, long keys, long d,
               typename Numbers<T>::Element* result, long ld) {
  for (long j = 0; j < keys; ++j) pack_row(key_row<T>(call, item, operand, first_key + j, d), d, result + j * ld);
  clear(result + keys * ld, (round_up(keys, block) - keys) * ld);
}

/// Packs one row (and its successor, or null for zeros, where elements are pairs) as a row of the factor [depth,
/// columns] of a product over rows; whole vectors are written.
template <typename T>
RAPT_INLINE void pack_depth_row(const T* row, const T* next, long d, typename Numbers<T>::Element* result) {
  if constexpr (Numbers<T>::step == 2) {
    for (long i = 0; i < d; i += lanes) {
      const F32 first = load_at_most(row + i, d - i);
      const F32 second = next != nullptr ? load_at_most(next + i, d - i) : F32{};
      // Both hold bf16 numbers in their upper halves.
      store((reinterpret_cast<U32>(first) >> 16) | reinterpret_cast<U32>(second), result + i);
    }
  } else {
    pack_row(row, d, result);
  }
}

/// Packs keys or values as a factor of a product over keys: [keys in elements, d]. Whole vectors are written, zeros
/// after d.
template <typename T>
void pack_values(const Call& call, const Item& item, const Operand& operand, long first_key, long keys, long d,
                 typename Numbers<T>::Element* result, long ld) {
  constexpr long step = Numbers<T>::step;
  for (long j = 0; j < keys; j += step) {
    const T* row = key_row<T>(call, item, operand, first_key + j, d);
    const T* next = step == 2 && j + 1 < keys ? key_row<T>(call, item, operand, first_key + j + 1, d) : nullptr;
    pack_depth_row(row, next, d, result + j / step * ld);
  }
}

/// Writes a group's result [d, group_rows], each row times its lane of `factors`, into rows of storage.
template <typename T>
void unpack_group(const typename Numbers<T>::S* group, const typename Numbers<T>::S* factors, T* const* rows,
                  long count, long d) {
  using S = typename Numbers<T>::S;
  constexpr int width = Simd<S>::width;
  for (long r = 0; r < count; r += width) {
    const Vector<S> factor = load(factors + r);
    for (long i = 0; i < d; i += width) {
      Vector<S> v[width];
#pragma GCC unroll 16
      for (int c = 0; c < width; ++c) {
        v[c] = i + c < d ? load(group + (i + c) * group_rows<S> + r) * factor : Vector<S>{};
      }
      transpose_square<width / 2, S>(v);
      const long present = at_most(width, count - r);
#pragma GCC unroll 16
      for (int c = 0; c < width; ++c) {
        if (c >= present) break;
        store_at_most(v[c], rows[r + c] + i, d - i);
      }
    }
  }
}

// Visibility.

/// Which keys of a tile the rows of a group see: bit j % 32 of words[j / 32][row] for key j.
template <typename S>
struct TileMask {
  uint32_t words[tile_keys / 32][group_rows<S>];

  /// The lanes of vector `v` that see key `key`.
  RAPT_INLINE Mask<S> operator()(long key, int v) const {
    constexpr int width = Simd<S>::width;
    typedef uint32_t Words __attribute__((vector_size(width * 4)));
    Words w;
    memcpy(&w, words[key / 32] + v * width, sizeof w);
    return __builtin_convertvector((w & (uint32_t{1} << (key % 32))) != 0, Mask<S>);
  }
};

/// What a group of rows sees of a tile.
struct Sight {
  int kind = 0;   ///< 0 nothing, 1 what a mask says, 2 every one of the keys
  long keys = 0;  ///< keys of the tile up to the last that may be seen
};

/// Keys that a query sees under Pattern::causal: the first so many.
RAPT_INLINE long causal_keys(const Item& item, long query) {
  return static_cast<long>(item.key_count) - item.query_count + query + 1;
}

/// For rows [first_row, first_row + rows) and keys [first_key, first_key + keys) of the sequence. Writes `mask` when
/// the kind is 1.
template <typename S>
Sight see(const Call& call, const Item& item, long first_row, long rows, long first_key, long keys, TileMask<S>& mask) {
  const Pattern& pattern = call.pattern;
  if (pattern.kind == Pattern::full) return {2, keys};
  const long first_query = row_of(item, first_row).query;
  const long last_query = row_of(item, first_row + rows - 1).query;
  if (pattern.kind == Pattern::causal) {
    const long most = at_most(keys, causal_keys(item, last_query) - first_key);
    if (most <= 0) return {0, 0};
    if (causal_keys(item, first_query) - first_key >= most) return {2, most};
    for (long r = 0; r < group_rows<S>; ++r) {
      const long seen = r < rows ? causal_keys(item, row_of(item, first_row + r).query) - first_key : 0;
      for (long w = 0; w < tile_keys / 32; ++w) {
        const long bits = at_most(at_least(seen - 32 * w, 0), 32);
        mask.words[w][r] = static_cast<uint32_t>((uint64_t{1} << bits) - 1);
      }
    }
    return {1, most};
  }
  const int kind = pattern.classify(pattern.visibility, item, first_query, last_query + 1, first_key, first_key + keys);
  if (kind != 1) return {kind, kind == 0 ? 0 : keys};
  uint64_t bits[tile_keys / 64] = {};
  uint64_t any_bits[tile_keys / 64] = {};
  long previous = -1;
  for (long r = 0; r < group_rows<S>; ++r) {
    const long query = r < rows ? row_of(item, first_row + r).query : previous;
    for (long w = 0; w < tile_keys / 64; ++w) {
      if (query != previous) {
        bits[w] = 64 * w < keys ? pattern.bits(pattern.visibility, item, query, first_key + 64 * w) : 0;
        // Keys of the next item of a split are not this one's.
        const long own = at_most(at_least(keys - 64 * w, 0), 64);
        if (own < 64) bits[w] &= (uint64_t{1} << own) - 1;
        any_bits[w] |= bits[w];
      }
      mask.words[2 * w][r] = static_cast<uint32_t>(bits[w]);
      mask.words[2 * w + 1][r] = static_cast<uint32_t>(bits[w] >> 32);
    }
    previous = query;
  }
  for (long w = tile_keys / 64 - 1; w >= 0; --w) {
    if (any_bits[w] != 0) return {1, 64 * w + 64 - __builtin_clzll(any_bits[w])};
  }
  return {0, 0};
}

/// Keys outside of which the item's queries see nothing, within the item's keys; `begin` is a multiple of tile_keys
/// away from the sequence's first key.
struct KeyRange {
  long begin, end;
};
RAPT_INLINE KeyRange visible_range(const Call& call, const Item& item, long first_query, long last_query) {
  long begin = item.first_key;
  long end = item.first_key + item.keys;
  if (call.pattern.kind == Pattern::causal) end = at_most(end, causal_keys(item, last_query - 1));
  if (call.pattern.kind == Pattern::general) {
    int64_t bounds[2];
    call.pattern.bounds(call.pattern.visibility, item, first_query, last_query, bounds);
    begin = at_least(begin, bounds[0] / tile_keys * tile_keys);
    end = at_most(end, bounds[1]);
  }
  return {begin, end};
}

/// Calls function(type{}) with the element type of the call.
template <typename Function>
RAPT_INLINE void with_type(const Call& call, Function function) {
  if (call.dtype == DType::f32) return function(float{});
  if (call.dtype == DType::bf16) return function(bf16{});
  return function(double{});
}

/// The softmax denominator of a row.
template <typename S>
struct RowSum {
  S factor;  ///< of the weighted values; 0 where nothing was seen
  S log_sum_exp;
};
/// maximum: what `total` is relative to, to base 2. The head's sink, if there is one, takes its share.
template <typename S>
RowSum<S> with_sink(const Call& call, long head, S maximum, S total) {
  if (call.added.sinks == nullptr) {
    if (total == 0) return {S(0), -infinity<S>};
    const double log_sum = static_cast<double>(maximum) * log_of_2 + __builtin_log(static_cast<double>(total));
    return {1 / total, static_cast<S>(log_sum)};
  }
  const double sink = static_cast<double>(static_cast<const S*>(call.added.sinks)[head]) * log2_of_e;
  const double highest = total == 0 || sink > static_cast<double>(maximum) ? sink : static_cast<double>(maximum);
  const double share = total == 0 ? 0 : __builtin_exp2(static_cast<double>(maximum) - highest);
  const double sum = static_cast<double>(total) * share + __builtin_exp2(sink - highest);
  return {static_cast<S>(share / sum), static_cast<S>(highest * log_of_2 + __builtin_log(sum))};
}

/// The log-sum-exp of the forward pass as the shift, to base 2, that turns scores into weights: a row that saw nothing,
/// or only scores of -inf, has no weights, which +inf gives and -inf would not.
template <typename S>
RAPT_INLINE S shift_of(S log_sum_exp) {
  return log_sum_exp == -infinity<S> ? infinity<S> : static_cast<S>(static_cast<double>(log_sum_exp) * log2_of_e);
}

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
