/// One small vector type for all instruction sets. Included by *.isa.cpp only: every file that includes it is compiled
/// with RAPT_ISA and RAPT_LANES set by the build. Everything here has internal linkage, so that no copy compiled for
/// one instruction set can be linked into another.
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#elif defined(__AVX2__)
#include <immintrin.h>
#endif

#include "rapt/dtype.h"

namespace rapt::kernels {
namespace {

#define RAPT_INLINE inline __attribute__((always_inline))

/// Lanes of a float vector; a double vector has half of them.
constexpr int lanes = RAPT_LANES;

typedef float F32 __attribute__((vector_size(RAPT_LANES * 4)));
typedef int32_t I32 __attribute__((vector_size(RAPT_LANES * 4)));
typedef uint32_t U32 __attribute__((vector_size(RAPT_LANES * 4)));
typedef uint16_t U16 __attribute__((vector_size(RAPT_LANES * 2)));
typedef double F64 __attribute__((vector_size(RAPT_LANES * 4)));
typedef int64_t I64 __attribute__((vector_size(RAPT_LANES * 4)));

/// How elements of storage type T are computed with: Scalar accumulates, Vector holds `width` of them.
template <typename T>
struct Simd;
template <>
struct Simd<float> {
  using Scalar = float;
  using Vector = F32;
  using Mask = I32;
  static constexpr int width = lanes;
};
template <>
struct Simd<bf16> : Simd<float> {};
template <>
struct Simd<double> {
  using Scalar = double;
  using Vector = F64;
  using Mask = I64;
  static constexpr int width = lanes / 2;
};

// Scalars.
RAPT_INLINE float widen(float x) {
  return x;
}
RAPT_INLINE double widen(double x) {
  return x;
}
RAPT_INLINE float widen(bf16 x) {
  const uint32_t u = static_cast<uint32_t>(x.bits) << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
RAPT_INLINE void narrow(float x, float* p) {
  *p = x;
}
RAPT_INLINE void narrow(double x, double* p) {
  *p = x;
}
RAPT_INLINE void narrow(float x, bf16* p) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) {
    p->bits = static_cast<uint16_t>((u >> 16) | 0x40u);
  } else {
    p->bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
}

// Loads and stores, unaligned.
RAPT_INLINE F32 load(const float* p) {
  F32 v;
  memcpy(&v, p, sizeof v);
  return v;
}
RAPT_INLINE F64 load(const double* p) {
  F64 v;
  memcpy(&v, p, sizeof v);
  return v;
}
/// 16-bit lanes to 32 bits. (GCC 12 takes several instructions for a conversion that these do in one; and it takes the
/// operands of unmasked AVX-512 intrinsics for uninitialised, hence the masks of all lanes.)
RAPT_INLINE U32 widen(U16 v) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<U32>(_mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(v)));
#elif RAPT_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<U32>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(v)));
#else
  return __builtin_convertvector(v, U32);
#endif
}
RAPT_INLINE F32 load(const bf16* p) {
  U16 half;
  memcpy(&half, p, sizeof half);
  return reinterpret_cast<F32>(widen(half) << 16);
}
RAPT_INLINE void store(F32 v, float* p) {
  memcpy(p, &v, sizeof v);
}
RAPT_INLINE void store(F64 v, double* p) {
  memcpy(p, &v, sizeof v);
}
RAPT_INLINE void store(F32 v, bf16* p) {
#if RAPT_LANES == 16 && defined(__AVX512BF16__)
  const __m256bh half = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  memcpy(static_cast<void*>(p), &half, sizeof half);
#else
  const U32 u = reinterpret_cast<U32>(v);
  const U32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const U32 quiet = (u >> 16) | 0x40u;
  const U32 bits = v != v ? quiet : rounded;
  const U16 half = __builtin_convertvector(bits, U16);
  memcpy(static_cast<void*>(p), &half, sizeof half);
#endif
}

/// The first n < width elements; the other lanes are 0.
template <typename T>
RAPT_INLINE typename Simd<T>::Vector load_part(const T* p, int n) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  const unsigned mask = (1u << n) - 1;
  if constexpr (sizeof(T) == 2) {
    const __m256i half = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask), p);
    return reinterpret_cast<F32>(widen(reinterpret_cast<U16>(half)) << 16);
  } else if constexpr (sizeof(T) == 4) {
    return reinterpret_cast<F32>(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p));
  } else {
    return reinterpret_cast<F64>(_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), p));
  }
#else
  T padded[Simd<T>::width] = {};
  memcpy(static_cast<void*>(padded), p, static_cast<unsigned long>(n) * sizeof(T));
  return load(padded);
#endif
}
template <typename V, typename T>
RAPT_INLINE void store_part(V v, T* p, int n) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  const unsigned mask = (1u << n) - 1;
  if constexpr (sizeof(T) == 2) {
    U16 half;
    store(v, reinterpret_cast<T*>(&half));
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(mask), reinterpret_cast<__m256i>(half));
  } else if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>(mask), reinterpret_cast<__m512>(v));
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask), reinterpret_cast<__m512d>(v));
  }
#else
  T padded[Simd<T>::width];
  store(v, padded);
  memcpy(static_cast<void*>(p), padded, static_cast<unsigned long>(n) * sizeof(T));
#endif
}

RAPT_INLINE F32 broadcast(float x) {
  return x - F32{};
}
RAPT_INLINE F64 broadcast(double x) {
  return x - F64{};
}

/// The larger and the smaller one; b where a or b is NaN.
RAPT_INLINE F32 max(F32 a, F32 b) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_maskz_max_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#else
  return a > b ? a : b;
#endif
}
RAPT_INLINE F64 max(F64 a, F64 b) {
  return a > b ? a : b;
}
RAPT_INLINE F32 min(F32 a, F32 b) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_maskz_min_ps(0xffff, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#else
  return a < b ? a : b;
#endif
}
RAPT_INLINE F64 min(F64 a, F64 b) {
  return a < b ? a : b;
}

/// Lane i of the result is lane i + step of v, for the lanes below step.
template <int step>
RAPT_INLINE F32 lower_by(F32 v) {
  I32 from;
  for (int i = 0; i < lanes; ++i) from[i] = (i + step) % lanes;
  return __builtin_shuffle(v, from);
}
template <int step>
RAPT_INLINE F64 lower_by(F64 v) {
  I64 from;
  for (int i = 0; i < lanes / 2; ++i) from[i] = (i + step) % (lanes / 2);
  return __builtin_shuffle(v, from);
}

/// Sums and maxima of all lanes, always in the same order of pairs.
template <int step, typename V>
RAPT_INLINE V fold_sum(V v) {
  if constexpr (step == 0) {
    return v;
  } else {
    return fold_sum<step / 2>(v + lower_by<step>(v));
  }
}
template <int step, typename V>
RAPT_INLINE V fold_maximum(V v) {
  if constexpr (step == 0) {
    return v;
  } else {
    return fold_maximum<step / 2>(max(v, lower_by<step>(v)));
  }
}
template <typename V>
RAPT_INLINE auto sum(V v) {
  return fold_sum<sizeof(V) / sizeof(v[0]) / 2>(v)[0];
}
template <typename V>
RAPT_INLINE auto maximum(V v) {
  return fold_maximum<sizeof(V) / sizeof(v[0]) / 2>(v)[0];
}

/// e^x, relative error below 2e-7, 0 below -87.3 (also for -inf), NaN for NaN, inf above 88.7.
RAPT_INLINE F32 exp(F32 x) {
  const F32 clamped = min(max(x, broadcast(-87.33654f)), broadcast(88.72283f));
  const F32 scaled = clamped * 1.44269504f;
  const F32 shifted = scaled + 12582912.0f;  // 1.5 * 2^23 rounds to the nearest integer
  const F32 n = shifted - 12582912.0f;
  F32 r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  F32 p = broadcast(1.9875691500e-4f);  // Cephes expf polynomial
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // Two factors, since 2^128 alone does not exist.
  const I32 exponent = __builtin_convertvector(n, I32);
  const I32 half = exponent >> 1;
  const F32 first = reinterpret_cast<F32>((half + 127) << 23);
  const F32 second = reinterpret_cast<F32>((exponent - half + 127) << 23);
  F32 result = p * first * second;
  result = x < -87.33654f ? F32{} : result;
  result = x > 88.72283f ? broadcast(__builtin_inff()) : result;
  return x != x ? x : result;
}
/// The double version is exact to the last places by calling the library lane by lane: it serves gradient checks.
RAPT_INLINE F64 exp(F64 x) {
  F64 result;
  for (int i = 0; i < lanes / 2; ++i) result[i] = __builtin_exp(x[i]);
  return result;
}

}  // namespace
}  // namespace rapt::kernels
