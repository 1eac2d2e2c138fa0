#include "kernels/packed_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

/// The processor follows one stream a core by itself, but not far enough ahead to hide memory.
constexpr int64_t bytes_ahead = 4096;

/// Sums of `vectors` vectors of columns for each row, over elements [begin, end) of the depth. `weights` is at the
/// first column and depth 0.
template <typename X, typename T, int rows, int vectors>
RAPT_INLINE void add_up(const GemvBlock& b, const T* weights, int64_t begin, int64_t end, F32 (&sums)[rows][vectors]) {
  using Multiply = Step<T, X>;
  constexpr int depth = Multiply::depth;
  const X* x = static_cast<const X*>(b.x);
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sums[r][v] = F32{};
  }
  for (int64_t i = begin; i < end; i += depth) {
    const T* line = weights + i * gemv_group;
    for (int v = 0; v < vectors; ++v) {
      __builtin_prefetch(reinterpret_cast<const char*>(line + v * lanes * depth) + bytes_ahead);
    }
    for (int r = 0; r < rows; ++r) {
      const auto xs = Multiply::broadcast_at(x + r * b.k, i, b.k);
      for (int v = 0; v < vectors; ++v) sums[r][v] = Multiply::add(sums[r][v], xs, line + v * lanes * depth);
    }
  }
}

template <typename T, typename X, typename Y, int rows, int vectors>
RAPT_INLINE void columns(const GemvBlock& b, int64_t column) {
  const int64_t in_group = column % gemv_group;
  const T* weights = static_cast<const T*>(b.weight) + (column - in_group) * b.padded_k + in_group * Step<T, X>::depth;
  F32 total[rows][vectors];
  add_up<X>(b, weights, 0, b.depth_at_once < b.k ? b.depth_at_once : b.k, total);
  for (int64_t begin = b.depth_at_once; begin < b.k; begin += b.depth_at_once) {
    const int64_t end = begin + b.depth_at_once < b.k ? begin + b.depth_at_once : b.k;
    F32 sums[rows][vectors];
    add_up<X>(b, weights, begin, end, sums);
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) total[r][v] += sums[r][v];
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      const int64_t first = column + v * lanes;
      if (first >= b.n) break;
      Y* y = static_cast<Y*>(b.y) + r * b.n + first;
      if (first + lanes <= b.n) {
        finish(b.bias, b.accumulate, total[r][v], first, y, Whole{});
      } else {
        finish(b.bias, b.accumulate, total[r][v], first, y, Part{static_cast<int>(b.n - first)});
      }
    }
  }
}

/// A few rows at a time along a short depth, so that what is written stays in the nearest cache.
template <typename T>
void pack(const PackBlock& b) {
  constexpr int64_t depth = 32;
  constexpr int64_t in_word = 4 / sizeof(T);  // an element of f32 or a pair of bf16
  constexpr int64_t words = depth / in_word;
  uint32_t* packed = static_cast<uint32_t*>(b.packed);
  for (int64_t first = 0; first < b.rows; first += gemv_group) {
    const int64_t end = first + gemv_group < b.rows ? first + gemv_group : b.rows;
    for (int64_t i = 0; i < b.k; i += depth) {
      for (int64_t row = first; row < end; ++row) {
        const int64_t column = b.first + row;
        const int64_t in_group = column % gemv_group;
        T numbers[depth];
        each_vector<float>(depth, [&](int64_t j, auto) {
          const int64_t left = b.k - i - j;
          const float* from = b.weight + row * b.k + i + j;
          const int n = static_cast<int>(left < 0 ? 0 : left);
          store(left >= lanes ? load(from) : n == 0 ? F32{} : load_part(from, n), numbers + j);
        });
        uint32_t whole[words];
        memcpy(whole, static_cast<const void*>(numbers), sizeof whole);
        uint32_t* to = packed + ((column - in_group) * b.padded_k + i * gemv_group) / in_word + in_group;
        for (int64_t w = 0; w < words && i + w * in_word < b.padded_k; ++w) to[w * gemv_group] = whole[w];
      }
    }
  }
}

/// The same of W^T: rows of W lie along the depth, those of a step side by side.
template <typename T>
void pack_transposed(const PackBlock& b) {
  constexpr int64_t in_word = 4 / sizeof(T);
  for (int64_t i = 0; i < b.rows; i += in_word) {
    for (int64_t column = 0; column < b.k; column += gemv_group) {
      const int64_t count = b.k - column < gemv_group ? b.k - column : gemv_group;
      T numbers[in_word][gemv_group] = {};
      for (int64_t j = 0; j < in_word && i + j < b.rows; ++j) {
        const float* from = b.weight + (i + j) * b.k + column;
        each_vector<float>(count, [&](int64_t c, auto part) { store(load(from + c, part), numbers[j] + c, part); });
      }
      T* to = static_cast<T*>(b.packed) + column * b.padded_k + (b.first + i) * gemv_group;
      for (int64_t c = 0; c < gemv_group; ++c) {
        for (int64_t j = 0; j < in_word; ++j) to[c * in_word + j] = numbers[j][c];
      }
    }
  }
}

/// 64 columns at a time where that many are left of a group, which is one stream of memory; else 32.
template <typename T, typename X, typename Y, int rows>
void multiply(const GemvBlock& b) {
  int64_t column = b.begin;
  while (column < b.end) {
    if (column % gemv_group == 0 && column + gemv_group <= b.end) {
      columns<T, X, Y, rows, gemv_group / lanes>(b, column);
      column += gemv_group;
    } else {
      columns<T, X, Y, rows, gemv_columns / lanes>(b, column);
      column += gemv_columns;
    }
  }
}

template <typename T, typename X, typename Y>
void multiply_rows(const GemvBlock& b) {
  switch (b.rows) {
    case 1:
      return multiply<T, X, Y, 1>(b);
    case 2:
      return multiply<T, X, Y, 2>(b);
    case 3:
      return multiply<T, X, Y, 3>(b);
    default:
      return multiply<T, X, Y, 4>(b);
  }
}

}  // namespace

void pack_block(const PackBlock& b) {
  if (b.dtype == DType::f32) return b.transposed ? pack_transposed<float>(b) : pack<float>(b);
  return b.transposed ? pack_transposed<bf16>(b) : pack<bf16>(b);
}

void gemv_block(const GemvBlock& b) {
  if (b.dtype == DType::f32) return multiply_rows<float, float, float>(b);
  if (b.x_dtype == DType::f32) return multiply_rows<bf16, float, float>(b);
  if (b.result == DType::f32) return multiply_rows<bf16, bf16, float>(b);
  return multiply_rows<bf16, bf16, bf16>(b);
}

}  // namespace rapt::kernels::RAPT_ISA
