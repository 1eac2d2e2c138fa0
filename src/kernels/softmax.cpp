#include "kernels/softmax.h"

#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(softmax_row, (float* row, long n, float scale), (row, n, scale))

void softmax_rows(const Context& ctx, const Tensor& scores, double scale) {
  check_type("softmax", "scores", scores, {DType::f32});
  const std::int64_t n = scores.dim(1);
  float* const data = scores.write<float>();
  ctx.parallel_for(scores.dim(0), [&](std::int64_t row) { softmax_row(data + row * n, n, static_cast<float>(scale)); });
}

}  // namespace rapt::kernels
