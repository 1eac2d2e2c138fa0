/// What this machine can do: the ceilings that rates are held against.
#pragma once

#include <span>

#include "core/context.h"
#include "core/tensor.h"

namespace rapt::kernels {

struct GemmShape {
  std::int64_t m = 3072;
  std::int64_t n = 512;
  std::int64_t k = 512;
};

/// FLOP/s of x [m, k] times packed weights [n, k], the median over runs that together last `seconds`, with the
/// context's threads.
double gemm_rate(const Context& ctx, DType dtype, double seconds, const GemmShape& shape = {});

/// Bytes/s of reading these very tensors, one after the other and each in order, with the context's threads; the median
/// of passes that together last `seconds`. Where memory lies can decide how fast it is read.
double reading_rate(const Context& ctx, std::span<const Tensor> memory, double seconds);
/// The same of memory that no cache holds (1 GiB); the best of three passes.
double memory_bandwidth(const Context& ctx);

}  // namespace rapt::kernels
