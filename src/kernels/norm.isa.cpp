#include "kernels/blocks.h"
#include "kernels/dropout.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

RAPT_INLINE float square_root(float x) {
  return __builtin_sqrtf(x);
}
RAPT_INLINE double square_root(double x) {
  return __builtin_sqrt(x);
}

/// z = x + dropout(s), for one row.
template <typename T, typename Drop>
void add_residual(Drop& drop, int64_t row, int64_t width, const T* x, const T* s, T* z) {
  each_vector_with_dropout<T>(drop, row * width, width, [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
    store(load(x + i, part) + keep(load(s + i, part)), z + i, part);
  });
}

template <typename T>
auto mean_of(const T* z, int64_t width) {
  typename Simd<T>::Vector sums[slots] = {};
  reduce_vectors<T>(width,
                    [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA { sums[slot.index] += load(z + i, part); });
  return sum(combine(sums)) / static_cast<typename Simd<T>::Scalar>(width);
}

template <typename T, typename Scalar = typename Simd<T>::Scalar>
auto variance_of(const T* z, int64_t width, Scalar mean) {
  typename Simd<T>::Vector sums[slots] = {};
  reduce_vectors<T>(width, [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA {
    const auto deviation = keep_part(load(z + i, part) - mean, part, typename Simd<T>::Vector{});
    sums[slot.index] += deviation * deviation;
  });
  return sum(combine(sums)) / static_cast<Scalar>(width);
}

template <typename T, typename Drop>
void forward(const LayerNormBlock& block, Drop& drop) {
  using Scalar = typename Simd<T>::Scalar;
  const int64_t width = block.width;
  const Scalar* weight = static_cast<const Scalar*>(block.weight);
  const Scalar* bias = static_cast<const Scalar*>(block.bias);
  for (int64_t row = 0; row < block.rows; ++row) {
    const T* z = static_cast<const T*>(block.z) + row * width;
    if (block.s != nullptr) {
      add_residual(drop, block.first_row + row, width, static_cast<const T*>(block.x) + row * width,
                   static_cast<const T*>(block.s) + row * width, static_cast<T*>(block.z) + row * width);
    }
    const Scalar mean = mean_of(z, width);
    const Scalar variance = variance_of(z, width, mean);
    const Scalar inverse_deviation = 1 / square_root(variance + static_cast<Scalar>(block.epsilon));
    T* y = static_cast<T*>(block.y) + row * width;
    each_vector<T>(width, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const auto normal = (load(z + i, part) - mean) * inverse_deviation;
      store(normal * load(weight + i, part) + load(bias + i, part), y + i, part);
    });
    static_cast<Scalar*>(block.mean)[row] = mean;
    static_cast<Scalar*>(block.inverse_deviation)[row] = inverse_deviation;
  }
}

/// The rows of a gradient, as pointers of their types.
template <typename T>
struct Gradient {
  using Scalar = typename Simd<T>::Scalar;
  int64_t width;
  const Scalar* weight;
  const T* z;
  const T* dy;
  const T* residual;
  T* dx;
  T* ds;
  Scalar* d_weight;
  Scalar* d_bias;
};

/// What the gradient of a row needs of the whole row, with g = dy * weight.
template <typename Scalar>
struct RowTerms {
  Scalar mean;
  Scalar inverse_deviation;
  Scalar mean_g;
  Scalar mean_g_normal;  ///< mean of g * (z - mean) * inverse_deviation
};

/// Completes the terms of n rows from `row` on and adds these rows to d_weight and d_bias. Several rows at a time touch
/// those sums seldom.
template <int n, typename T, typename Scalar>
void reduce_rows(const Gradient<T>& rows, int64_t row, RowTerms<Scalar> (&terms)[n]) {
  using V = typename Simd<T>::Vector;
  const int64_t width = rows.width;
  const T* z = rows.z + row * width;
  const T* dy = rows.dy + row * width;
  V sum_g[n] = {};
  V sum_g_normal[n] = {};
  each_vector<T>(width, [&](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    const V weight = load(rows.weight + i, part);
    V d_weight = load(rows.d_weight + i, part);
    V d_bias = load(rows.d_bias + i, part);
    for (int r = 0; r < n; ++r) {
      const V normal = (load(z + r * width + i, part) - terms[r].mean) * terms[r].inverse_deviation;
      const V gradient = load(dy + r * width + i, part);
      const V g = gradient * weight;
      sum_g[r] += g;
      sum_g_normal[r] += g * normal;
      d_weight += gradient * normal;
      d_bias += gradient;
    }
    store(d_weight, rows.d_weight + i, part);
    store(d_bias, rows.d_bias + i, part);
  });
  for (int r = 0; r < n; ++r) {
    terms[r].mean_g = sum(sum_g[r]) / static_cast<Scalar>(width);
    terms[r].mean_g_normal = sum(sum_g_normal[r]) / static_cast<Scalar>(width);
  }
}

/// dx and ds of one row.
template <typename T, typename Scalar, typename Drop>
void write_row(const Gradient<T>& rows, int64_t row, int64_t first_row, const RowTerms<Scalar>& terms, Drop& drop) {
  const int64_t begin = row * rows.width;
  const T* z = rows.z + begin;
  const T* dy = rows.dy + begin;
  const T* residual = rows.residual == nullptr ? nullptr : rows.residual + begin;
  T* dx = rows.dx + begin;
  T* ds = rows.ds == nullptr ? nullptr : rows.ds + begin;
  const Scalar* weight = rows.weight;
  each_vector_with_dropout<T>(drop, first_row * rows.width + begin, rows.width,
                              [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
                                const auto normal = (load(z + i, part) - terms.mean) * terms.inverse_deviation;
                                const auto g = load(dy + i, part) * load(weight + i, part);
                                auto dz = (g - terms.mean_g - normal * terms.mean_g_normal) * terms.inverse_deviation;
                                if (residual != nullptr) dz += load(residual + i, part);
                                store(dz, dx + i, part);
                                if (ds != nullptr) store(keep(dz), ds + i, part);
                              });
}

template <int n, typename T, typename Drop>
void backward_rows(const LayerNormGradientBlock& block, const Gradient<T>& rows, int64_t row, Drop& drop) {
  using Scalar = typename Simd<T>::Scalar;
  RowTerms<Scalar> terms[n];
  for (int r = 0; r < n; ++r) {
    terms[r].mean = static_cast<const Scalar*>(block.mean)[row + r];
    terms[r].inverse_deviation = static_cast<const Scalar*>(block.inverse_deviation)[row + r];
  }
  reduce_rows(rows, row, terms);
  for (int r = 0; r < n; ++r) write_row(rows, row + r, block.first_row, terms[r], drop);
}

template <typename T, typename Drop>
void backward(const LayerNormGradientBlock& block, Drop& drop) {
  using Scalar = typename Simd<T>::Scalar;
  constexpr int together = 4;
  const Gradient<T> rows{block.width,
                         static_cast<const Scalar*>(block.weight),
                         static_cast<const T*>(block.z),
                         static_cast<const T*>(block.dy),
                         static_cast<const T*>(block.residual),
                         static_cast<T*>(block.dx),
                         static_cast<T*>(block.ds),
                         static_cast<Scalar*>(block.d_weight),
                         static_cast<Scalar*>(block.d_bias)};
  int64_t row = 0;
  for (; row + together <= block.rows; row += together) backward_rows<together>(block, rows, row, drop);
  for (; row < block.rows; ++row) backward_rows<1>(block, rows, row, drop);
}

}  // namespace

void layer_norm_forward_block(const LayerNormBlock& block) {
  with_type(block.dtype,
            [&]<typename T>(Type<T>) { with_dropout(block.mask, [&](auto& drop) { forward<T>(block, drop); }); });
}

void layer_norm_backward_block(const LayerNormGradientBlock& block) {
  with_type(block.dtype,
            [&]<typename T>(Type<T>) { with_dropout(block.mask, [&](auto& drop) { backward<T>(block, drop); }); });
}

}  // namespace rapt::kernels::RAPT_ISA
