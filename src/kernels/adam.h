/// Adam (Kingma, Ba 2015) and AdamW (Loshchilov, Hutter 2019).
#pragma once

#include "core/context.h"

namespace rapt::kernels {

struct AdamStep {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-9;
  double weight_decay = 0;    ///< decoupled (AdamW): weight -= learning_rate * weight_decay * weight
  double gradient_scale = 1;  ///< multiplies the gradient first (clipping, accumulation)
  std::int64_t step = 1;      ///< counts from 1, for the bias correction
};

/// One update of `weight` in place; gradient, m and v of the same shape and type (f32 or f64).
void adam_update(const Context& ctx, const AdamStep& step, const Tensor& weight, const Tensor& gradient,
                 const Tensor& m, const Tensor& v);

}  // namespace rapt::kernels
