#include "training/machine_rate.h"

#include <algorithm>
#include <chrono>

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace rapt::training {

double measure_gemm_rate(Context& ctx, const ProductShape& shape, double seconds) {
  using Clock = std::chrono::steady_clock;
  const Tensor weight = Tensor::zeros({shape.outputs, shape.inputs}, DType::f32);
  kernels::GemmWeight matrix;
  matrix.set(weight);
  const Tensor x = ctx.allocate({shape.rows, shape.inputs}, ctx.compute);
  const Tensor y = ctx.allocate({shape.rows, shape.outputs}, ctx.compute);
  kernels::fill_zero(ctx, x);
  const auto flops = 2.0 * static_cast<double>(shape.rows * shape.inputs * shape.outputs);

  double best = 0;
  const auto begin = Clock::now();
  auto last = begin;
  while (std::chrono::duration<double>(last - begin).count() < seconds) {
    kernels::gemm(ctx, x, matrix, {}, y);
    const auto now = Clock::now();
    best = std::max(best, flops / std::chrono::duration<double>(now - last).count());
    last = now;
  }
  return best;
}

}  // namespace rapt::training
