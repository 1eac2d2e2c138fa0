/// The building blocks that the attention kernels share: packing rows of storage into matrices of the type computed
/// with, and one register-tiled product. Included by *.isa.cpp only, everything has internal linkage (see
/// kernels/simd.h).
///
/// Matrices are row-major. Their rows are padded with zeros to whole vectors, and the leading dimension has one vector
/// more so that walking down a column does not hit the same few cache sets again and again.
#pragma once

#include "attention/kernel.h"
#include "kernels/simd.h"

namespace rapt::attention::RAPT_ISA {
namespace {

using namespace rapt::kernels;

template <typename S>
using Vector = typename Simd<S>::Vector;
template <typename S>
using Mask = typename Simd<S>::Mask;

RAPT_INLINE long at_most(long a, long b) {
  return a < b ? a : b;
}
RAPT_INLINE long at_least(long a, long b) {
  return a > b ? a : b;
}
RAPT_INLINE long round_up(long n, long multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Blocks of rows and the ends of rows written by elementwise passes are multiples of this for every vector width.
constexpr long block_unit = 8;
/// Vectors of a product held in registers: half of the register file, which also hides the latency of two FMA pipes.
constexpr int accumulators = lanes == 16 ? 16 : 8;
/// Rows of a product computed together.
constexpr int block_rows = accumulators / 2;

/// Leading dimension of a matrix with `columns` columns.
template <typename S>
RAPT_INLINE long leading(long columns) {
  return round_up(columns, at_least(Simd<S>::width, block_unit)) + Simd<S>::width;
}

/// Hands out 64-byte aligned pieces of a buffer; with base 0 it only measures.
struct Carver {
  uint64_t base;
  uint64_t used = 0;

  template <typename S>
  RAPT_INLINE S* take(long count) {
    S* piece = reinterpret_cast<S*>(base + used);
    used += (static_cast<uint64_t>(count) * sizeof(S) + 63) / 64 * 64;
    return piece;
  }
};

/// Fills in `buffers` (which has a member carve(Carver&)) from this thread's scratch memory.
template <typename Buffers>
RAPT_INLINE void allocate(Buffers& buffers) {
  Carver measure{0};
  buffers.carve(measure);
  Carver carver{reinterpret_cast<uint64_t>(thread_scratch(static_cast<long>(measure.used)))};
  buffers.carve(carver);
}

// Lanes.

template <typename S>
RAPT_INLINE Mask<S> lanes_below(long n) {
  Mask<S> index;
  for (int i = 0; i < Simd<S>::width; ++i) index[i] = i;
  return index < static_cast<decltype(index[0] + 0)>(n);
}

/// Combines all lanes in a fixed order of pairs; every lane of the result holds the total.
template <int step, typename V, typename Combine>
RAPT_INLINE V fold(V v, Combine combine) {
  using Index = decltype(v > v);
  constexpr int width = sizeof(V) / sizeof(v[0]);
  Index partner;
  for (int i = 0; i < width; ++i) partner[i] = i ^ step;
  v = combine(v, __builtin_shuffle(v, partner));
  if constexpr (step > 1) v = fold<step / 2>(v, combine);
  return v;
}
template <typename S>
RAPT_INLINE S sum_of_lanes(Vector<S> v) {
  return fold<Simd<S>::width / 2>(v, [](auto a, auto b) { return a + b; })[0];
}
template <typename S>
RAPT_INLINE S maximum_of_lanes(Vector<S> v) {
  return fold<Simd<S>::width / 2>(v, [](auto a, auto b) { return max(a, b); })[0];
}

/// One step of a square transposition: swaps the off-diagonal blocks of `step` lanes between rows i and i + step.
template <int step, typename S>
RAPT_INLINE void exchange(Vector<S>& a, Vector<S>& b) {
  constexpr int width = Simd<S>::width;
  Mask<S> upper, lower;
  for (int i = 0; i < width; ++i) {
    upper[i] = (i & step) ? width + i - step : i;
    lower[i] = (i & step) ? width + i : i + step;
  }
  const Vector<S> first = a;
  a = __builtin_shuffle(first, b, upper);
  b = __builtin_shuffle(first, b, lower);
}
template <int step, typename S>
RAPT_INLINE void transpose(Vector<S>* v) {
#pragma GCC unroll 16
  for (int i = 0; i < Simd<S>::width; ++i) {
    if ((i & step) == 0) exchange<step, S>(v[i], v[i + step]);
  }
  if constexpr (step > 1) transpose<step / 2, S>(v);
}

// Between storage and matrices.

/// The first `n` elements (all of the vector when n >= width), zeros after.
template <typename T>
RAPT_INLINE Vector<T> load_at_most(const T* p, long n) {
  return n >= Simd<T>::width ? load(p) : load_part(p, static_cast<int>(n));
}

template <typename T, typename S>
RAPT_INLINE void pack_row(const T* row, long d, S* result) {
  for (long i = 0; i < d; i += Simd<S>::width) store(load_at_most(row + i, d - i), result + i);
}

/// result[j, i] = row j of the source, element i.
template <typename T, typename S>
void pack(const T* source, long stride, long rows, long d, S* result, long ld) {
  for (long j = 0; j < rows; ++j) pack_row(source + j * stride, d, result + j * ld);
}

/// Elements of storage in the bits of one vector: two per lane for bf16, whose pairs are moved as one.
template <typename T>
constexpr long line_elements = sizeof(Vector<typename Simd<T>::Scalar>) / sizeof(T);

/// The bits of the first `n` elements of a row, of line_elements when n is not less; zeros after.
template <typename T>
RAPT_INLINE Vector<T> load_line(const T* row, long n) {
  Vector<T> line = {};
  if (n >= line_elements<T>) {
    memcpy(&line, static_cast<const void*>(row), sizeof line);
  } else {
    memcpy(&line, static_cast<const void*>(row), static_cast<unsigned long>(n) * sizeof(T));
  }
  return line;
}

/// One square of pack_transposed. Unless it is whole, rows and elements beyond `rows` and `d` count as zeros.
template <bool whole, typename T, typename S>
RAPT_INLINE void pack_square(const T* source, long stride, long rows, long d, S* result, long ld) {
  constexpr int width = Simd<S>::width;
  Vector<S> v[width];
#pragma GCC unroll 16
  for (int r = 0; r < width; ++r) {
    const T* row = source + r * stride;
    v[r] = whole || r < rows ? load_line(row, whole ? line_elements<T> : d) : Vector<S>{};
  }
  transpose<width / 2, S>(v);
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) {
    if constexpr (sizeof(T) == sizeof(S)) {
      if (whole || i < d) store(v[i], result + i * ld);
    } else {
      const U32 pairs = reinterpret_cast<U32>(v[i]);
      if (whole || 2 * i < d) store(reinterpret_cast<F32>(pairs << 16), result + 2 * i * ld);
      if (whole || 2 * i + 1 < d) store(reinterpret_cast<F32>(pairs & 0xffff0000u), result + (2 * i + 1) * ld);
    }
  }
}

/// result[i, j] = row j of the source, element i; columns after the last row up to a whole vector are 0.
template <typename T, typename S>
void pack_transposed(const T* source, long stride, long rows, long d, S* result, long ld) {
  constexpr int width = Simd<S>::width;
  for (long j = 0; j < rows; j += width) {
    for (long i = 0; i < d; i += line_elements<T>) {
      const T* square = source + j * stride + i;
      if (rows - j >= width && d - i >= line_elements<T>) {
        pack_square<true>(square, stride, width, line_elements<T>, result + i * ld + j, ld);
      } else {
        pack_square<false>(square, stride, rows - j, d - i, result + i * ld + j, ld);
      }
    }
  }
}

/// Writes one row of a matrix, times `factor`, into storage.
template <typename T, typename S>
RAPT_INLINE void unpack_row(const S* row, S factor, long d, T* result) {
  constexpr int width = Simd<S>::width;
  for (long i = 0; i < d; i += width) {
    const Vector<S> v = load(row + i) * factor;
    if (d - i >= width) {
      store(v, result + i);
    } else {
      store_part(v, result + i, static_cast<int>(d - i));
    }
  }
}

template <typename S>
RAPT_INLINE void clear(S* p, long count) {
  if (count > 0) memset(p, 0, static_cast<unsigned long>(count) * sizeof(S));
}

// The product c (+)= a b. Each element of c is summed over the depth in ascending order by one chain of multiply-adds
// and then, when accumulating, added to c, whatever the tile it falls into: results do not depend on how rows are
// grouped.

template <typename S>
struct Product {
  const S* a;  ///< [rows, depth], or [depth, rows] when transposed
  long lda;
  const S* b;  ///< [depth, columns]
  long ldb;
  S* c;  ///< [rows, columns]
  long ldc;
  long depth;
  long columns;  ///< rounded up to whole vectors, so b and c must have such rows
  bool accumulate = false;
};

template <int rows, int vectors, bool transposed, typename S>
RAPT_INLINE void multiply_tile(const Product<S> p, long column) {
  constexpr int width = Simd<S>::width;
  const S* a = p.a;
  const S* b = p.b + column;
  Vector<S> sums[rows][vectors] = {};
  for (long k = 0; k < p.depth; ++k, b += p.ldb, a += transposed ? p.lda : 1) {
    Vector<S> line[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) line[i] = load(b + i * width);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Vector<S> x = broadcast(transposed ? a[r] : a[r * p.lda]);
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) sums[r][i] += x * line[i];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    S* c = p.c + r * p.ldc + column;
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      store(p.accumulate ? load(c + i * width) + sums[r][i] : sums[r][i], c + i * width);
    }
  }
}

template <int rows, bool transposed, typename S>
void multiply_rows(const Product<S> p) {
  constexpr int width = Simd<S>::width;
  constexpr int wide = rows * 4 <= accumulators ? 4 : 2;
  long column = 0;
  for (; column + (wide - 1) * width < p.columns; column += wide * width) {
    multiply_tile<rows, wide, transposed>(p, column);
  }
  if constexpr (wide == 4) {
    if (column + width < p.columns) {
      multiply_tile<rows, 2, transposed>(p, column);
      column += 2 * width;
    }
  }
  if (column < p.columns) multiply_tile<rows, 1, transposed>(p, column);
}

/// The product for 1 <= rows <= block_rows.
template <bool transposed, int most = block_rows, typename S>
RAPT_INLINE void multiply(long rows, const Product<S>& p) {
  if constexpr (most > 1) {
    if (rows < most) return multiply<transposed, most - 1>(rows, p);
  }
  multiply_rows<most, transposed>(p);
}

// Items.

/// Keys that query `query` of the item's sequence sees: the first so many.
RAPT_INLINE long visible_keys(const Call& call, const Item& item, long query) {
  if (!call.causal) return item.key_count;
  return at_least(0, static_cast<long>(item.key_count) - item.query_count + query + 1);
}

/// The rows of an item are its (query, head) pairs, heads of one query side by side, so that visibility never shrinks
/// from one row to the next.
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

template <typename T>
RAPT_INLINE T* element(const Operand& operand, long token, long head, long d) {
  return static_cast<T*>(operand.data) + token * operand.stride + head * d;
}

/// Of the keys [first_key, first_key + keys), those that row `row` of the item sees: the first so many.
RAPT_INLINE long seen_keys(const Call& call, const Item& item, long row, long first_key, long keys) {
  return at_least(0, at_most(visible_keys(call, item, row_of(item, row).query) - first_key, keys));
}

/// The log-sum-exp of the forward pass as the shift that turns scores into weights: a row that saw nothing, or only
/// scores of -inf, has no weights, which +inf gives and -inf would not.
template <typename S>
RAPT_INLINE S log_sum_exp_of(const Call& call, const Row& row) {
  const S value = static_cast<const S*>(call.log_sum_exp)[row.token * call.heads + row.head];
  const S infinity = static_cast<S>(__builtin_inf());
  return value == -infinity ? infinity : value;
}

/// Calls function(row, count) for blocks of block_rows rows.
template <typename Function>
RAPT_INLINE void for_blocks(long rows, Function function) {
  for (long row = 0; row < rows; row += block_rows) function(row, at_most(block_rows, rows - row));
}

/// Packs rows [row, row + rows) of the item from an operand that is indexed like the queries.
template <typename T, typename S>
RAPT_INLINE void pack_queries(const Operand& operand, const Item& item, long row, long rows, long d, S* result,
                              long ld) {
  for (long r = 0; r < rows; ++r) {
    const Row at = row_of(item, row + r);
    pack_row(element<const T>(operand, at.token, at.head, d), d, result + r * ld);
  }
}

/// Begins to fetch `elements` elements.
template <typename T, int write = 0>
RAPT_INLINE void prefetch_row(const T* row, long elements) {
  constexpr long per_line = 64 / sizeof(T);
  for (long i = 0; i < elements; i += per_line) __builtin_prefetch(row + i, write);
}

/// Begins to fetch what an item will read (or write): rows [token, token + rows) from `head` on, `elements` each. Short
/// items spend their time waiting otherwise.
template <typename T, int write>
RAPT_INLINE void prefetch(const Operand& operand, long token, long rows, long head, long d, long elements) {
  // More than this is on its way before it is needed, or would push out what is in use.
  constexpr long most_rows = 64;
  for (long j = 0; j < at_most(rows, most_rows); ++j) {
    prefetch_row<T, write>(element<T>(operand, token + j, head, d), elements);
  }
}
template <typename T, int write = 0>
RAPT_INLINE void prefetch_queries(const Operand& operand, const Item& item, long d) {
  prefetch<T, write>(operand, item.query_begin + item.first_query, item.queries, item.head, d, item.heads * d);
}
template <typename T, int write = 0>
RAPT_INLINE void prefetch_keys(const Operand& operand, const Item& item, long d) {
  prefetch<T, write>(operand, item.key_begin, item.key_count, item.kv_head, d, d);
}

/// Calls function(type{}) with the element type of the call.
template <typename Function>
RAPT_INLINE void with_type(const Call& call, Function function) {
  if (call.dtype == DType::f32) return function(float{});
  if (call.dtype == DType::bf16) return function(bf16{});
  return function(double{});
}

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
