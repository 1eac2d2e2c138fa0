/// Functions of vectors. For *.isa.cpp only, like simd.h: everything has internal linkage. The f32 versions are
/// polynomials whose coefficients minimise the largest error (Remez); those of f64 serve gradient checks and call the
/// library lane by lane.
#pragma once

#include "kernels/simd.h"

namespace rapt::kernels {
namespace {

/// e^x for x <= 0, relative error below 2e-7; 0 below -87.3 (also for -inf), NaN for NaN. Half the work of exp().
RAPT_INLINE F32 exp_nonpositive(F32 x) {
  const F32 clamped = max(broadcast(-87.3f), x);            // in this order NaN stays NaN
  const F32 shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2^23 rounds to the nearest integer
  const F32 n = shifted - 12582912.0f;
  F32 r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  F32 p = broadcast(1.381453857502477e-3f);
  p = p * r + 8.368745151322311e-3f;
  p = p * r + 4.166839082199732e-2f;
  p = p * r + 1.66665203985819e-1f;
  p = p * r + 4.999999343190419e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // Times 2^n: n, the low bits of `shifted`, is added to the exponent.
  const F32 result = reinterpret_cast<F32>(reinterpret_cast<I32>(p) + (reinterpret_cast<I32>(shifted) << 23));
  return x < -87.3f ? F32{} : result;
}
RAPT_INLINE F64 exp_nonpositive(F64 x) {
  return exp(x);
}

RAPT_INLINE F32 absolute(F32 x) {
  return reinterpret_cast<F32>(reinterpret_cast<I32>(x) & 0x7fffffff);
}
RAPT_INLINE F64 absolute(F64 x) {
  return reinterpret_cast<F64>(reinterpret_cast<I64>(x) & INT64_MAX);
}

/// The logistic function 1 / (1 + e^-x) and its derivative; absolute error below 1.5e-7 for f32, NaN for NaN.
template <typename V>
struct Sigmoid {
  V value;
  V derivative;
};
template <typename V>
RAPT_INLINE Sigmoid<V> sigmoid(V x) {
  const V small = exp_nonpositive(-absolute(x));
  const V inverse = 1 / (small + 1);
  return {(x < 0 ? small : V{} + 1) * inverse, small * inverse * inverse};
}

/// Distribution function of the standard normal distribution, (1 + erf(x / sqrt 2)) / 2: absolute error below 1e-7 for
/// f32, so that the erf is within 2e-7; for x < 0 the relative error stays below 1e-4 down to x = -4. NaN for NaN.
RAPT_INLINE F32 normal_cdf(F32 x) {
  const F32 a = absolute(x);
  F32 p = broadcast(1.7121942619269248e-6f);  // -log(2 cdf(-a)) / a
  p = p * a - 2.4536691853427328e-5f;
  p = p * a + 1.1728971003321931e-4f;
  p = p * a + 1.1994213127763942e-4f;
  p = p * a - 4.924084525555372e-3f;
  p = p * a + 3.640371561050415e-2f;
  p = p * a + 3.182946741580963e-1f;
  p = p * a + 7.978856563568115e-1f;
  const F32 tail = exp_nonpositive(-a * p) * 0.5f;
  return x < 0.0f ? tail : 1.0f - tail;
}
RAPT_INLINE F64 normal_cdf(F64 x) {
  for (int i = 0; i < lanes / 2; ++i) x[i] = 0.5 * __builtin_erfc(-x[i] * 0.70710678118654752440);
  return x;
}

RAPT_INLINE F32 sqrt(F32 x) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(x)));
#elif RAPT_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<F32>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#else
  for (int i = 0; i < lanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}
RAPT_INLINE F64 sqrt(F64 x) {
  for (int i = 0; i < lanes / 2; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
}

}  // namespace
}  // namespace rapt::kernels
