#include "kernels/packed_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

constexpr int column_vectors = 2;
constexpr int panel_columns = column_vectors * lanes;
/// Columns of a panel times this much depth stay in the nearest cache while all rows pass.
constexpr int64_t panel_depth = 256;
constexpr int tile_rows = 6;

/// Some columns of the packed matrix, [depth, panel_columns], as f32; depth is even for bf16.
RAPT_INLINE void read_panel(const float* weights, int64_t depth, float* panel) {
  for (int64_t i = 0; i < depth; ++i) {
    for (int v = 0; v < column_vectors; ++v) store(load(weights + v * lanes), panel + v * lanes);
    weights += gemv_group;
    panel += panel_columns;
  }
}
RAPT_INLINE void read_panel(const bf16* weights, int64_t depth, float* panel) {
  for (int64_t i = 0; i < depth; i += 2) {
    for (int v = 0; v < column_vectors; ++v) {
      const Pair pair = widen_pairs(weights + 2 * v * lanes);
      store(pair.first, panel + v * lanes);
      store(pair.second, panel + panel_columns + v * lanes);
    }
    weights += 2 * gemv_group;
    panel += 2 * panel_columns;
  }
}

/// totals[rows, gemv_group] += x[rows, depth] panel.
template <int rows>
void multiply_tile(const float* x, int64_t ld, const float* panel, int64_t depth, float* totals) {
  F32 sums[rows][column_vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < column_vectors; ++v) sums[r][v] = load(totals + r * gemv_group + v * lanes);
  }
#pragma GCC unroll 4
  for (int64_t i = 0; i < depth; ++i) {
    F32 w[column_vectors];
    for (int v = 0; v < column_vectors; ++v) w[v] = load(panel + i * panel_columns + v * lanes);
    for (int r = 0; r < rows; ++r) {
      const F32 factor = broadcast(x[r * ld + i]);
      for (int v = 0; v < column_vectors; ++v) sums[r][v] = multiply_add(sums[r][v], factor, w[v]);
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < column_vectors; ++v) store(sums[r][v], totals + r * gemv_group + v * lanes);
  }
}

void multiply_rows(const float* x, int64_t ld, int64_t rows, const float* panel, int64_t depth, float* totals) {
  for (; rows >= tile_rows; rows -= tile_rows) {
    multiply_tile<tile_rows>(x, ld, panel, depth, totals);
    x += tile_rows * ld;
    totals += tile_rows * gemv_group;
  }
  switch (rows) {
    case 5:
      return multiply_tile<5>(x, ld, panel, depth, totals);
    case 4:
      return multiply_tile<4>(x, ld, panel, depth, totals);
    case 3:
      return multiply_tile<3>(x, ld, panel, depth, totals);
    case 2:
      return multiply_tile<2>(x, ld, panel, depth, totals);
    case 1:
      return multiply_tile<1>(x, ld, panel, depth, totals);
    default:
      return;
  }
}

template <typename T>
void add_up(const GemmBlock& b, float* totals) {
  alignas(64) float panel[panel_depth * panel_columns];
  const T* group = static_cast<const T*>(b.weight) + b.begin * b.padded_k;
  constexpr int64_t in_word = 4 / sizeof(T);
  for (int64_t i = 0; i < b.padded_k; i += panel_depth) {
    const int64_t depth = b.padded_k - i < panel_depth ? b.padded_k - i : panel_depth;
    for (int64_t column = 0; column < gemv_group && b.begin + column < b.n; column += panel_columns) {
      read_panel(group + i * gemv_group + column * in_word, depth, panel);
      multiply_rows(b.x + i, b.padded_k, b.rows, panel, depth, totals + column);
    }
  }
}

template <typename Y>
void write(const GemmBlock& b, const float* totals) {
  const int64_t count = b.n - b.begin < gemv_group ? b.n - b.begin : gemv_group;
  for (int64_t row = 0; row < b.rows; ++row) {
    Y* y = static_cast<Y*>(b.y) + row * b.n + b.begin;
    each_vector<float>(count, [&](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      finish(b.bias, b.accumulate, load(totals + row * gemv_group + i), b.begin + i, y + i, part);
    });
  }
}

}  // namespace

void gemm_block(const GemmBlock& b) {
  alignas(64) float totals[gemm_rows * gemv_group];
  memset(totals, 0, static_cast<unsigned long>(b.rows * gemv_group) * sizeof(float));
  if (b.dtype == DType::f32) {
    add_up<float>(b, totals);
  } else {
    add_up<bf16>(b, totals);
  }
  if (b.result == DType::f32) return write<float>(b, totals);
  return write<bf16>(b, totals);
}

}  // namespace rapt::kernels::RAPT_ISA
