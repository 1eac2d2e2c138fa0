/// Softmax of rows, for attention that is computed in separate steps.
#pragma once

#include "core/context.h"

namespace rapt::kernels {

/// scores: [rows, n] f32; each row becomes softmax(scale * row), in place.
void softmax_rows(const Context& ctx, const Tensor& scores, double scale);

}  // namespace rapt::kernels
