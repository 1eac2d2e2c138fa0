/// Products with packed matrices (gemv.h), split over threads: of few rows on any processor, and all of those that
/// oneDNN does not make, or not the same for any number of rows and threads.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/gemm.h"
#include "kernels/gemv.h"

namespace rapt::kernels {

/// Whether products of this type are made here instead of by oneDNN: without AVX-512 it has none in bf16, and those in
/// f32 depend, in their last bits, on the number of rows or threads.
bool own_products(DType dtype);

/// padded_k of a depth, where oneDNN has no say in it.
std::int64_t padded_depth(std::int64_t depth, DType dtype);
std::size_t packed_bytes(std::int64_t columns, std::int64_t padded_k, DType dtype);

/// Packs W, or its transpose, by parts that stay in the second-level cache: nothing as large as W is ever read or
/// unpacked at once.
void pack_rows(const GemmWeight& source, bool transposed, DType type, std::int64_t padded_k,
               std::span<std::byte> storage);

/// The block's columns are those of all threads.
void multiply_few(const Context& ctx, const GemvBlock& block);

/// A packed matrix of padded_depth().
struct PackedMatrix {
  DType dtype = DType::f32;
  const void* data = nullptr;
};
/// y[rows, n] (+)= x[rows, k] times a packed matrix of x's type, or of bf16, with the bias. Each sum is taken along k
/// in order, however many rows there are.
void multiply_packed(const Context& ctx, const Tensor& x, const PackedMatrix& matrix, const GemmEpilogue& epilogue,
                     const Tensor& y);

/// dw[n, k] (+)= dy[rows, n]^T x[rows, k], in f32 whatever they are: elements of bf16 are exact in it.
void multiply_transposed(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw);

}  // namespace rapt::kernels
