/// What this machine's matrix products can do, as the ceiling of a training step.
#pragma once

#include <cstdint>

#include "core/context.h"

namespace rapt::training {

/// A product [rows, inputs] x [inputs, outputs].
struct ProductShape {
  std::int64_t rows = 0;
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
};

/// Floating-point operations a second of this product in the context's type, with its threads: the best of what was
/// seen within `seconds`.
double measure_gemm_rate(Context& ctx, const ProductShape& shape, double seconds);

}  // namespace rapt::training
