#include "kernels/blocks.h"
#include "kernels/functions.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename T>
void forward(const DeltaGatesBlock& block) {
  using Scalar = typename Simd<T>::Scalar;
  const int64_t heads = block.heads;
  const Scalar* a_log = static_cast<const Scalar*>(block.a_log);
  const Scalar* dt_bias = static_cast<const Scalar*>(block.dt_bias);
  for (int64_t row = 0; row < block.rows; ++row) {
    const T* a = static_cast<const T*>(block.z) + row * 2 * heads;
    const T* b = a + heads;
    Scalar* alpha = static_cast<Scalar*>(block.gates) + row * 2 * heads;
    Scalar* beta = alpha + heads;
    each_vector<T>(heads, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const auto step = softplus(load(a + i, part) + load(dt_bias + i, part));
      store(exp_nonpositive(-exp(load(a_log + i, part)) * step), alpha + i, part);
      store(sigmoid(load(b + i, part)).value, beta + i, part);
    });
  }
}

/// With u = a + dt_bias and A = exp(a_log): d alpha / du = -A alpha sigmoid(u), d alpha / d a_log = -A alpha
/// softplus(u).
template <typename T>
void backward(const DeltaGatesBlock& block) {
  using Scalar = typename Simd<T>::Scalar;
  const int64_t heads = block.heads;
  const Scalar* a_log = static_cast<const Scalar*>(block.a_log);
  const Scalar* dt_bias = static_cast<const Scalar*>(block.dt_bias);
  Scalar* d_a_log = static_cast<Scalar*>(block.d_a_log);
  Scalar* d_dt_bias = static_cast<Scalar*>(block.d_dt_bias);
  for (int64_t row = 0; row < block.rows; ++row) {
    const int64_t begin = row * 2 * heads;
    const T* a = static_cast<const T*>(block.z) + begin;
    const T* b = a + heads;
    const Scalar* d_alpha = static_cast<const Scalar*>(block.d_gates) + begin;
    const Scalar* d_beta = d_alpha + heads;
    T* da = static_cast<T*>(block.dz) + begin;
    T* db = da + heads;
    each_vector<T>(heads, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const auto u = load(a + i, part) + load(dt_bias + i, part);
      const auto rate = exp(load(a_log + i, part));
      const auto step = softplus(u);
      const auto scaled = load(d_alpha + i, part) * -rate * exp_nonpositive(-rate * step);
      const auto du = scaled * sigmoid(u).value;
      store(du, da + i, part);
      store(load(d_beta + i, part) * sigmoid(load(b + i, part)).derivative, db + i, part);
      store(load(d_a_log + i, part) + scaled * step, d_a_log + i, part);
      store(load(d_dt_bias + i, part) + du, d_dt_bias + i, part);
    });
  }
}

}  // namespace

void delta_gates_forward_block(const DeltaGatesBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) { forward<T>(block); });
}

void delta_gates_backward_block(const DeltaGatesBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) { backward<T>(block); });
}

}  // namespace rapt::kernels::RAPT_ISA
