/// Products with a packed matrix. Those of a few rows, as in decoding, take the time in which the matrix comes from
/// memory, and this reads it faster than oneDNN does; those of many rows are for processors on which oneDNN has no
/// products of the type.
#pragma once

#include <stdint.h>

#include "rapt/dtype.h"

namespace rapt::kernels {

constexpr int64_t gemv_rows = 4;      ///< of x, at most
constexpr int64_t gemv_group = 64;    ///< columns that are packed together
constexpr int64_t gemv_columns = 32;  ///< the smallest share of a thread

/// y[rows, n] = x[rows, k] W^T for some of the columns, with bias and sum as gemm() has them. W is packed in groups of
/// 64 columns that lie one after the other: f32 as [padded_k, 64], bf16 as [padded_k / 2, 64, 2], zeros where there is
/// no element. No functions here: this header is compiled for every instruction set.
struct GemvBlock {
  DType dtype = DType::f32;    ///< of W: f32 or bf16
  DType x_dtype = DType::f32;  ///< f32, or bf16 where W has it
  DType result = DType::f32;   ///< of y: f32, or bf16 where x has it
  int64_t rows = 0;            ///< 1 to gemv_rows
  int64_t n = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  /// Sums are taken over so many elements of k at a time and then added up, in order: what decides the last bits of y.
  int64_t depth_at_once = 0;
  int64_t begin = 0;  ///< columns [begin, end), multiples of gemv_columns (or n)
  int64_t end = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;  ///< [n] or null
  bool accumulate = false;
  void* y = nullptr;
};

/// Rows of W, f32, to be laid where GemvBlock reads them. They are columns of the product or, transposed, steps of its
/// depth: the product is then with W^T, whose padded_k is the number of rows, rounded up.
struct PackBlock {
  DType dtype = DType::f32;  ///< of the packed matrix
  bool transposed = false;
  int64_t first = 0;  ///< where the rows stand in W; even where they are transposed
  int64_t rows = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  const float* weight = nullptr;  ///< [rows, k]
  void* packed = nullptr;         ///< of the whole matrix
};

/// The same product for many rows, 64 columns at a time: every sum is taken along the depth in order, as GemvBlock
/// takes it with depth_at_once = k.
struct GemmBlock {
  DType dtype = DType::f32;   ///< f32 or bf16: of W
  DType result = DType::f32;  ///< of y: f32, or bf16
  int64_t rows = 0;           ///< at most gemm_rows
  int64_t n = 0;
  int64_t padded_k = 0;
  int64_t begin = 0;         ///< the first of up to 64 columns, a multiple of 64
  const float* x = nullptr;  ///< [rows, padded_k]
  const void* weight = nullptr;
  const float* bias = nullptr;  ///< [n] or null
  bool accumulate = false;
  void* y = nullptr;  ///< [rows, n]
};
constexpr int64_t gemm_rows = 96;

}  // namespace rapt::kernels
