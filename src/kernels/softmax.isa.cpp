#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {

void softmax_row(float* row, long n, float scale) {
  const F32 none = broadcast(-__builtin_inff());
  F32 highest = none;
  each_vector<float>(n, [&](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    highest = max(keep_part(load(row + i, part) * scale, part, none), highest);
  });
  const float largest = maximum(highest);
  F32 total{};
  each_vector<float>(n, [&](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    const F32 p = exp(load(row + i, part) * scale - largest);
    store(p, row + i, part);
    total += keep_part(p, part, F32{});
  });
  const float factor = 1 / sum(total);
  each_vector<float>(
      n, [&](int64_t i, auto part) RAPT_INLINE_LAMBDA { store(load(row + i, part) * factor, row + i, part); });
}

}  // namespace rapt::kernels::RAPT_ISA
