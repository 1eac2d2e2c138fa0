/// What this machine can do: the ceilings that rates are held against.
#pragma once

#include "core/context.h"

namespace rapt::kernels {

struct GemmShape {
  std::int64_t m = 3072;
  std::int64_t n = 512;
  std::int64_t k = 512;
};

/// FLOP/s of x [m, k] times packed weights [n, k], the median over runs that together last `seconds`, with the
/// context's threads.
double gemm_rate(const Context& ctx, DType dtype, double seconds, const GemmShape& shape = {});

/// Bytes/s of reading memory that no cache holds (1 GiB), with the context's threads; the best of three passes.
double memory_bandwidth(const Context& ctx);

}  // namespace rapt::kernels
