#include "attention/linear_matrix.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

/// Vectors of a product held in registers: half of the register file, which also hides the latency of two FMA pipes.
constexpr int accumulators = lanes == 16 ? 16 : 8;
constexpr int tile_vectors = 2;
constexpr int tile_rows = accumulators / tile_vectors;

// The product.

/// A block of rows of the product, with what takes no part cut off.
template <typename S>
struct Block {
  const S* a;
  const S* b;
  S* c;
  long depth;
  long columns;
};

template <int rows, typename S>
RAPT_INLINE Block<S> block_of(const Product<S>& p, long row) {
  const long reach = row + rows + p.diagonal;
  const long first = p.shape == Shape::upper_left ? at_least(0, at_most(p.depth, row - p.diagonal)) : 0;
  const long depth = p.shape == Shape::lower_left ? at_most(p.depth, reach) : p.depth - first;
  const long columns = p.shape == Shape::lower_result ? at_most(p.columns, reach) : p.columns;
  const S* a = p.transposed ? p.a.data + first * p.a.ld + row : p.a.data + row * p.a.ld + first;
  return {a, p.b.data + first * p.b.ld, p.c.data + row * p.c.ld, depth, columns};
}

template <int rows, int vectors, bool transposed, typename S>
RAPT_INLINE void multiply_tile(const Product<S>& p, const Block<S>& block, long column) {
  constexpr int width = Simd<S>::width;
  const long a_step = transposed ? p.a.ld : 1;
  const long lda = p.a.ld, ldb = p.b.ld;
  const S* a = block.a;
  const S* b = block.b + column;
  Vector<S> sums[rows][vectors] = {};
  for (long k = 0; k < block.depth; ++k, b += ldb, a += a_step) {
    Vector<S> line[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) line[i] = load(b + i * width);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Vector<S> x = broadcast(transposed ? a[r] : a[r * lda]);
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) sums[r][i] += x * line[i];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    S* c = block.c + r * p.c.ld + column;
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) {
      store(p.accumulate ? load(c + i * width) + sums[r][i] : sums[r][i], c + i * width);
    }
  }
}

template <int rows, bool transposed, typename S>
void multiply_block(const Product<S>& p, long row) {
  constexpr int width = Simd<S>::width;
  const Block<S> block = block_of<rows>(p, row);
  long column = 0;
  for (; column + width < block.columns; column += tile_vectors * width) {
    multiply_tile<rows, tile_vectors, transposed>(p, block, column);
  }
  if (column < block.columns) multiply_tile<rows, 1, transposed>(p, block, column);
}

template <int rows, bool transposed, typename S>
RAPT_INLINE void multiply_blocks(const Product<S>& p, long row) {
  for (; row + rows <= p.rows; row += rows) multiply_block<rows, transposed>(p, row);
  if constexpr (rows > 1) multiply_blocks<rows / 2, transposed>(p, row);
}

template <typename S>
RAPT_INLINE void multiply_any(const Product<S>& p) {
  if (p.transposed) {
    multiply_blocks<tile_rows, true>(p, 0);
  } else {
    multiply_blocks<tile_rows, false>(p, 0);
  }
}

// The transpose.

template <typename S>
RAPT_INLINE void transpose_any(const S* source, long ld_source, long rows, long columns, S* result, long ld) {
  constexpr int width = Simd<S>::width;
  for (long j = 0; j < rows; j += width) {
    for (long i = 0; i < columns; i += width) {
      Vector<S> v[width];
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r) {
        v[r] = j + r < rows ? load(source + (j + r) * ld_source + i) : Vector<S>{};
      }
      transpose_square<width / 2, S>(v);
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r) {
        if (i + r < columns) store(v[r], result + (i + r) * ld + j);
      }
    }
  }
}

// Rows of storage.

template <typename T, typename S>
RAPT_INLINE void load_all(const Stored& source, long rows, long d, S factor, S* result, long ld) {
  constexpr int width = Simd<S>::width;
  for (long j = 0; j < rows; ++j) {
    const T* row = static_cast<const T*>(source.data) + j * source.stride;
    long i = 0;
    for (; i + width <= d; i += width) store(load(row + i) * factor, result + j * ld + i);
    if (i < d) store(load_part(row + i, static_cast<int>(d - i)) * factor, result + j * ld + i);
  }
}

template <typename T, typename S>
RAPT_INLINE void store_all(const S* matrix, long ld, long rows, long d, const S* factors, S factor,
                           const Stored& result) {
  constexpr int width = Simd<S>::width;
  for (long j = 0; j < rows; ++j) {
    const S row_factor = factors == nullptr ? factor : factors[j] * factor;
    T* row = static_cast<T*>(result.data) + j * result.stride;
    long i = 0;
    for (; i + width <= d; i += width) store(load(matrix + j * ld + i) * row_factor, row + i);
    if (i < d) store_part(load(matrix + j * ld + i) * row_factor, row + i, static_cast<int>(d - i));
  }
}

}  // namespace

void multiply(const Product<float>& product) {
  multiply_any(product);
}
void multiply(const Product<double>& product) {
  multiply_any(product);
}

void transpose(const float* source, long ld_source, long rows, long columns, float* result, long ld) {
  transpose_any(source, ld_source, rows, columns, result, ld);
}
void transpose(const double* source, long ld_source, long rows, long columns, double* result, long ld) {
  transpose_any(source, ld_source, rows, columns, result, ld);
}

void load_rows(const Stored& source, long rows, long d, float factor, float* result, long ld) {
  if (source.dtype == DType::bf16) {
    load_all<bf16>(source, rows, d, factor, result, ld);
  } else {
    load_all<float>(source, rows, d, factor, result, ld);
  }
}
void load_rows(const Stored& source, long rows, long d, double factor, double* result, long ld) {
  load_all<double>(source, rows, d, factor, result, ld);
}

void store_rows(const float* matrix, long ld, long rows, long d, const float* factors, float factor,
                const Stored& result) {
  if (result.dtype == DType::bf16) {
    store_all<bf16>(matrix, ld, rows, d, factors, factor, result);
  } else {
    store_all<float>(matrix, ld, rows, d, factors, factor, result);
  }
}
void store_rows(const double* matrix, long ld, long rows, long d, const double* factors, double factor,
                const Stored& result) {
  store_all<double>(matrix, ld, rows, d, factors, factor, result);
}

void prefetch_rows(const Stored& rows, long count, long d, bool write) {
  const long size = rows.dtype == DType::bf16 ? 2 : rows.dtype == DType::f32 ? 4 : 8;
  for (long j = 0; j < count; ++j) {
    const char* row = static_cast<const char*>(rows.data) + j * rows.stride * size;
    for (long i = 0; i < d * size; i += 64) write ? __builtin_prefetch(row + i, 1) : __builtin_prefetch(row + i, 0);
  }
}

}  // namespace rapt::attention::linear::RAPT_ISA
