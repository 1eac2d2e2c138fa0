/// What a RandomFeatures holds.
#pragma once

#include <vector>

#include "rapt/linear_form.h"

namespace rapt::attention {

/// The directions [count, d_key] and their transpose, rows padded with zeros to multiples of 16, in both types that
/// kernels compute with.
struct RandomFeatures::Directions {
  int count = 0;
  int d_key = 0;
  std::int64_t stride = 0;
  std::int64_t stride_t = 0;
  std::vector<double> f64, f64_t;
  std::vector<float> f32, f32_t;
};

}  // namespace rapt::attention
