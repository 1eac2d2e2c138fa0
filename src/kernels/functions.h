/// Functions of vectors. For *.isa.cpp only, like simd.h: everything has internal linkage. The f32 versions are
/// polynomials whose coefficients minimise the largest error (Remez); those of f64 serve gradient checks and call the
/// library lane by lane.
#pragma once

#include "kernels/simd.h"

namespace rapt::kernels {
namespace {

constexpr double log2_e = 1.44269504088896340736;
constexpr double ln_2 = 0.69314718055994530942;

/// 2^f for |f| <= 1/2, relative error below 2e-9 before rounding.
RAPT_INLINE F32 exp2_fraction(F32 f) {
  F32 p = broadcast(1.5353249855179713e-4f);
  p = p * f + 1.3399000328996676e-3f;
  p = p * f + 9.618438616505336e-3f;
  p = p * f + 5.550332173437503e-2f;
  p = p * f + 2.4022647896946475e-1f;
  p = p * f + 6.931472029774197e-1f;
  return p * f + 1.0f;
}

/// 2^t for t <= 1, relative error below 2e-7 above -126 and 0 far below (also for -inf), NaN for NaN. Half the work of
/// exp().
RAPT_INLINE F32 exp2_nonpositive(F32 t) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  constexpr int to_nearest = 8;
  const F32 f = reinterpret_cast<F32>(_mm512_maskz_reduce_ps(0xffff, reinterpret_cast<__m512>(t), to_nearest));
  const F32 n = t - f;
  const F32 p = exp2_fraction(f);
  return reinterpret_cast<F32>(
      _mm512_maskz_scalef_ps(0xffff, reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
#else
  const F32 clamped = max(broadcast(-126.0f), t);  // in this order NaN stays NaN
  const F32 shifted = clamped + 12582912.0f;       // 1.5 * 2^23 rounds to the nearest integer
  const F32 p = exp2_fraction(clamped - (shifted - 12582912.0f));
  // The integer, in the low bits of `shifted`, is added to the exponent.
  const F32 result = reinterpret_cast<F32>(reinterpret_cast<I32>(p) + (reinterpret_cast<I32>(shifted) << 23));
  return t < -126.0f ? F32{} : result;
#endif
}
RAPT_INLINE F64 exp2_nonpositive(F64 t) {
  for (int i = 0; i < lanes / 2; ++i) t[i] = __builtin_exp2(t[i]);
  return t;
}

/// e^x for x <= 0, relative error below 2e-7 - 1.2e-7 x for f32.
RAPT_INLINE F32 exp_nonpositive(F32 x) {
  return exp2_nonpositive(x * static_cast<float>(log2_e));
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

/// log(1 + x) for 0 <= x <= 1, relative error below 3e-7 for f32: 2 artanh(x / (2 + x)) by its series.
RAPT_INLINE F32 log1p_of_fraction(F32 x) {
  const F32 t = x / (x + 2.0f);
  const F32 y = t * t;
  F32 series = y * (2.0f / 15) + 2.0f / 13;
  series = series * y + 2.0f / 11;
  series = series * y + 2.0f / 9;
  series = series * y + 2.0f / 7;
  series = series * y + 2.0f / 5;
  series = series * y + 2.0f / 3;
  return (series * y + 2.0f) * t;
}
RAPT_INLINE F64 log1p_of_fraction(F64 x) {
  for (int i = 0; i < lanes / 2; ++i) x[i] = __builtin_log1p(x[i]);
  return x;
}

/// log(1 + e^x), relative error below 6e-7 - 1.2e-7 min(x, 0) for f32 and x > -87, 0 far below; NaN for NaN. Its
/// derivative is sigmoid(x).
template <typename V>
RAPT_INLINE V softplus(V x) {
  return log1p_of_fraction(exp_nonpositive(-absolute(x))) + (x < 0 ? V{} : x);
}

/// tanh, relative error below 3e-7 for f32: by its series for small arguments, where 1 - e^-2x would cancel. NaN for
/// NaN.
RAPT_INLINE F32 tanh(F32 x) {
  const F32 y = x * x;
  F32 series = y * -0.00886323553f + 0.0218694885f;
  series = series * y - 0.0539682540f;
  series = series * y + 0.133333333f;
  series = series * y - 0.333333333f;
  series = series * y * x + x;
  const F32 e = exp_nonpositive(absolute(x) * -2.0f);
  const F32 size = (1.0f - e) / (1.0f + e);
  return y < 0.09f ? series : (x < 0.0f ? -size : size);
}
RAPT_INLINE F64 tanh(F64 x) {
  F64 result = x;
  for (int i = 0; i < lanes / 2; ++i) result[i] = __builtin_tanh(x[i]);
  return result;
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
