/// What products with packed matrices share. For *.isa.cpp only, like simd.h: everything has internal linkage.
#pragma once

#include "kernels/gemv.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels {
namespace {

/// sum + x * w, said as one operation, as oneDNN does it: without optimisation g++ makes two of it in some loops.
RAPT_INLINE F32 multiply_add(F32 sum, F32 x, F32 w) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_maskz_fmadd_ps(0xffff, reinterpret_cast<__m512>(x), reinterpret_cast<__m512>(w),
                                                     reinterpret_cast<__m512>(sum)));
#elif RAPT_LANES == 8 && defined(__FMA__)
  return reinterpret_cast<F32>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(x), reinterpret_cast<__m256>(w), reinterpret_cast<__m256>(sum)));
#else
  return sum + x * w;
#endif
}

/// A vector of neighbours in depth, two by two.
struct Pair {
  F32 first, second;
};
/// Elements of bf16 are the upper halves of f32.
RAPT_INLINE Pair widen_pairs(const bf16* pairs) {
  U32 both;
  memcpy(&both, static_cast<const void*>(pairs), sizeof both);
  return {reinterpret_cast<F32>(both << 16), reinterpret_cast<F32>(both & 0xffff0000u)};
}

/// A step in depth: an element of x, or two, times the weights of one vector of columns.
template <typename Weight, typename X>
struct Step;

template <>
struct Step<float, float> {
  static constexpr int depth = 1;
  static RAPT_INLINE F32 broadcast_at(const float* x, int64_t i, int64_t) { return broadcast(x[i]); }
  static RAPT_INLINE F32 add(F32 sum, F32 x, const float* weights) { return multiply_add(sum, x, load(weights)); }
};

/// Weights of bf16, widened.
template <typename X>
struct Step<bf16, X> {
  static constexpr int depth = 2;
  static RAPT_INLINE Pair broadcast_at(const X* x, int64_t i, int64_t k) {
    return {broadcast(widen(x[i])), i + 1 < k ? broadcast(widen(x[i + 1])) : F32{}};
  }
  static RAPT_INLINE F32 add(F32 sum, Pair x, const bf16* weights) {
    const Pair w = widen_pairs(weights);
    return multiply_add(multiply_add(sum, x.first, w.first), x.second, w.second);
  }
};

#ifdef __AVX512BF16__
template <>
struct Step<bf16, bf16> {
  static constexpr int depth = 2;
  static RAPT_INLINE __m512bh broadcast_at(const bf16* x, int64_t i, int64_t k) {
    uint32_t pair = x[i].bits;
    if (i + 1 < k) memcpy(&pair, static_cast<const void*>(x + i), sizeof pair);
    return reinterpret_cast<__m512bh>(_mm512_maskz_set1_epi32(0xffff, static_cast<int>(pair)));
  }
  static RAPT_INLINE F32 add(F32 sum, __m512bh x, const bf16* weights) {
    __m512bh w;
    memcpy(&w, static_cast<const void*>(weights), sizeof w);
    return reinterpret_cast<F32>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), x, w));
  }
};
#endif

/// Puts a vector of sums, that of the columns from `column` on, where it belongs.
template <typename Y, typename Extent>
RAPT_INLINE void finish(const float* bias, bool accumulate, F32 sum, int64_t column, Y* y, Extent extent) {
  if (bias != nullptr) sum += load(bias + column, extent);
  if (accumulate) sum += load(y, extent);
  store(sum, y, extent);
}

}  // namespace
}  // namespace rapt::kernels
