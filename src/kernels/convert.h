/// Conversion between element types.
#pragma once

#include "core/context.h"

namespace rapt::kernels {

/// result[i] = source[i], converted; both of `count` elements, any of f64, f32, bf16 (f64 <-> bf16 goes through f32).
void convert(const Context& ctx, const Tensor& source, const Tensor& result);

}  // namespace rapt::kernels
