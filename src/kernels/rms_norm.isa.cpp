#include "kernels/blocks.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

RAPT_INLINE float square_root(float x) {
  return __builtin_sqrtf(x);
}
RAPT_INLINE double square_root(double x) {
  return __builtin_sqrt(x);
}

template <typename T, typename Scalar = typename Simd<T>::Scalar>
Scalar mean_of_squares(const T* x, int64_t width) {
  typename Simd<T>::Vector sums[slots] = {};
  reduce_vectors<T>(width, [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA {
    const auto v = load(x + i, part);
    sums[slot.index] += v * v;
  });
  return sum(combine(sums)) / static_cast<Scalar>(width);
}

template <typename T>
void forward(const RmsNormBlock& block) {
  using Scalar = typename Simd<T>::Scalar;
  const int64_t width = block.width;
  const Scalar* weight = static_cast<const Scalar*>(block.weight);
  const Scalar offset = static_cast<Scalar>(block.weight_offset);
  Scalar* inverse_rms = static_cast<Scalar*>(block.inverse_rms);
  for (int64_t row = 0; row < block.rows; ++row) {
    for (int64_t group = 0; group < block.groups; ++group) {
      const int64_t begin = row * block.stride + group * width;
      const T* x = static_cast<const T*>(block.x) + begin;
      T* y = static_cast<T*>(block.y) + begin;
      const Scalar inverse = 1 / square_root(mean_of_squares(x, width) + static_cast<Scalar>(block.epsilon));
      each_vector<T>(width, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
        store(load(x + i, part) * inverse * (load(weight + i, part) + offset), y + i, part);
      });
      inverse_rms[row * block.groups + group] = inverse;
    }
  }
}

/// One vector: with n = x / rms and g = dy * weight, dx = (g - n mean(g n)) / rms, and d_weight grows by dy n.
template <typename T, typename Scalar>
void backward(const T* x, const T* dy, const Scalar* weight, Scalar offset, Scalar inverse, int64_t width, T* dx,
              Scalar* d_weight) {
  typename Simd<T>::Vector sums[slots] = {};
  reduce_vectors<T>(width, [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA {
    const auto gradient = load(dy + i, part);
    const auto gradient_normal = gradient * (load(x + i, part) * inverse);
    sums[slot.index] += gradient_normal * (load(weight + i, part) + offset);
    store(load(d_weight + i, part) + gradient_normal, d_weight + i, part);
  });
  const Scalar mean = sum(combine(sums)) / static_cast<Scalar>(width);
  each_vector<T>(width, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    const auto g = load(dy + i, part) * (load(weight + i, part) + offset);
    store((g - load(x + i, part) * inverse * mean) * inverse, dx + i, part);
  });
}

template <typename T>
void backward(const RmsNormGradientBlock& block) {
  using Scalar = typename Simd<T>::Scalar;
  const Scalar* inverse_rms = static_cast<const Scalar*>(block.inverse_rms);
  for (int64_t row = 0; row < block.rows; ++row) {
    for (int64_t group = 0; group < block.groups; ++group) {
      const int64_t begin = row * block.stride + group * block.width;
      backward(static_cast<const T*>(block.x) + begin, static_cast<const T*>(block.dy) + begin,
               static_cast<const Scalar*>(block.weight), static_cast<Scalar>(block.weight_offset),
               inverse_rms[row * block.groups + group], block.width, static_cast<T*>(block.dx) + begin,
               static_cast<Scalar*>(block.d_weight));
    }
  }
}

}  // namespace

void rms_norm_forward_block(const RmsNormBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) { forward<T>(block); });
}

void rms_norm_backward_block(const RmsNormGradientBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) { backward<T>(block); });
}

}  // namespace rapt::kernels::RAPT_ISA
