#include "kernels/gemm_f64.h"

#include <algorithm>

namespace rapt::kernels {

void gemm_f64(const Context& ctx, const Tensor& x, const Tensor& weight, const GemmEpilogue& epilogue,
              const Tensor& y) {
  const std::int64_t n = weight.dim(0);
  const std::int64_t k = weight.dim(1);
  const double* bias = epilogue.bias.defined() ? epilogue.bias.data<double>() : nullptr;
  ctx.parallel_for(x.dim(0), [&](std::int64_t row) {
    const double* in = x.data<double>() + row * k;
    double* out = y.write<double>() + row * n;
    for (std::int64_t j = 0; j < n; ++j) {
      const double* w = weight.data<double>() + j * k;
      double sum = 0;
      for (std::int64_t i = 0; i < k; ++i) sum += in[i] * w[i];
      if (bias != nullptr) sum += bias[j];
      if (epilogue.relu) sum = std::max(sum, 0.0);
      out[j] = epilogue.accumulate ? out[j] + sum : sum;
    }
  });
}

void gemm_input_gradient_f64(const Context& ctx, const Tensor& dy, const Tensor& weight, bool accumulate,
                             const Tensor& dx) {
  const std::int64_t n = weight.dim(0);
  const std::int64_t k = weight.dim(1);
  ctx.parallel_for(dy.dim(0), [&](std::int64_t row) {
    const double* in = dy.data<double>() + row * n;
    double* out = dx.write<double>() + row * k;
    if (!accumulate) std::fill_n(out, k, 0.0);
    for (std::int64_t j = 0; j < n; ++j) {
      const double* w = weight.data<double>() + j * k;
      for (std::int64_t i = 0; i < k; ++i) out[i] += in[j] * w[i];
    }
  });
}

void gemm_weight_gradient_f64(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate,
                              const Tensor& dw) {
  const std::int64_t m = dy.dim(0);
  const std::int64_t n = dy.dim(1);
  const std::int64_t k = x.dim(1);
  ctx.parallel_for(n, [&](std::int64_t j) {
    double* out = dw.write<double>() + j * k;
    if (!accumulate) std::fill_n(out, k, 0.0);
    for (std::int64_t row = 0; row < m; ++row) {
      const double factor = dy.data<double>()[row * n + j];
      const double* in = x.data<double>() + row * k;
      for (std::int64_t i = 0; i < k; ++i) out[i] += factor * in[i];
    }
  });
}

}  // namespace rapt::kernels
