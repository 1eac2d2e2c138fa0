/// How the softmax kernels compute with each element type: products and exponentials. Included by *.isa.cpp only;
/// everything has internal linkage (see kernels/simd.h).
#pragma once

#include "attention/lanes.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// Products of operands stored as T read Elements: numbers of the type S they are summed up in, or, where the processor
/// multiplies pairs of bf16, two neighbours along the depth of the product in 32 bits.
template <typename T>
struct Numbers {
  using S = typename Simd<T>::Scalar;
  using Element = S;
  static constexpr int step = 1;  ///< numbers of the depth in an element
};
#if RAPT_LANES == 16 && defined(__AVX512BF16__)
template <>
struct Numbers<bf16> {
  using S = float;
  using Element = uint32_t;
  static constexpr int step = 2;
};
#endif

RAPT_INLINE U32 load(const uint32_t* p) {
  U32 v;
  memcpy(&v, p, sizeof v);
  return v;
}
RAPT_INLINE void store(U32 v, uint32_t* p) {
  memcpy(p, &v, sizeof v);
}
RAPT_INLINE U32 broadcast(uint32_t x) {
  return x - U32{};
}
using kernels::broadcast;
using kernels::load;
using kernels::store;

RAPT_INLINE F32 multiply_add(F32 sum, F32 a, F32 b) {
  return sum + a * b;
}
RAPT_INLINE F64 multiply_add(F64 sum, F64 a, F64 b) {
  return sum + a * b;
}
#if RAPT_LANES == 16 && defined(__AVX512BF16__)
RAPT_INLINE F32 multiply_add(F32 sum, U32 a, U32 b) {
  return reinterpret_cast<F32>(
      _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
}
/// Rounds to bf16 and lays lane by lane side by side: `first` in the lower halves.
RAPT_INLINE U32 pair_up(F32 first, F32 second) {
  typedef uint16_t Halves __attribute__((vector_size(64)));
  const Halves both = reinterpret_cast<Halves>(
      _mm512_maskz_cvtne2ps_pbh(0xffffffffu, reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first)));
  Halves order;
  for (int i = 0; i < 16; ++i) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(i + 16);
  }
  return reinterpret_cast<U32>(__builtin_shuffle(both, order));
}
#endif

// Exponentials to base 2, for x <= 127; 0 below -150, NaN for NaN. The polynomial of 2^r for |r| <= 1/2 has the least
// largest relative error, 9.1e-8, of those of degree 5 with constant term 1.

/// p * 2^n for whole n >= -160.
RAPT_INLINE F32 times_power_of_2(F32 p, F32 n) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<F32>(
      _mm512_maskz_scalef_ps(0xffff, reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
#else
  // Two factors, since the smallest power of a normal number is -126.
  const I32 exponent = __builtin_convertvector(n, I32);
  const I32 half = exponent >> 1;
  return p * reinterpret_cast<F32>((half + 127) << 23) * reinterpret_cast<F32>((exponent - half + 127) << 23);
#endif
}
RAPT_INLINE F32 exp2(F32 x) {
  x = max(broadcast(-160.0f), x);       // in this order NaN stays
  const F32 shifted = x + 12582912.0f;  // 1.5 * 2^23 rounds to the nearest integer
  const F32 n = shifted - 12582912.0f;
  const F32 r = x - n;
  F32 p = r * 0.00132647273f + 0.00967151299f;
  p = p * r + 0.0555073358f;
  p = p * r + 0.240222424f;
  p = p * r + 0.693147004f;
  return times_power_of_2(p * r + 1.0f, n);
}
/// The double version calls the library lane by lane: it serves gradient checks.
RAPT_INLINE F64 exp2(F64 x) {
  F64 result = x;
  for (int i = 0; i < lanes / 2; ++i) result[i] = __builtin_exp2(x[i]);
  return result;
}

constexpr double log2_of_e = 1.4426950408889634;
constexpr double log_of_2 = 0.6931471805599453;
/// A running maximum before the first score: below all that can come, and finite, so that differences from it are no
/// NaN.
template <typename S>
constexpr S no_maximum = static_cast<S>(-3e38);

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
