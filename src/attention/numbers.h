/// How the attention kernels compute with each element type: vectors, exponentials, lanes. Included by *.isa.cpp only;
/// everything has internal linkage (see kernels/simd.h).
#pragma once

#include "kernels/simd.h"

namespace rapt::attention::RAPT_ISA {
namespace {

using namespace rapt::kernels;

template <typename S>
using Vector = typename Simd<S>::Vector;
template <typename S>
using Mask = typename Simd<S>::Mask;

RAPT_INLINE long at_most(long a, long b) {
  return a < b ? a : b;
}
RAPT_INLINE long at_least(long a, long b) {
  return a > b ? a : b;
}
RAPT_INLINE long round_up(long n, long multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

#if RAPT_LANES == 16 && defined(__AVX512BF16__)
constexpr bool pairs_of_bf16 = true;
#else
constexpr bool pairs_of_bf16 = false;
#endif

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

template <typename S>
RAPT_INLINE Vector<S> minus_infinity() {
  return broadcast(static_cast<S>(-__builtin_inf()));
}

// Lanes.

template <typename S>
RAPT_INLINE Mask<S> lanes_below(long n) {
  Mask<S> index;
  for (int i = 0; i < Simd<S>::width; ++i) index[i] = i;
  return index < static_cast<decltype(index[0] + 0)>(n);
}
/// Whether any lane of a mask is set.
template <typename M>
RAPT_INLINE bool any(M mask) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  if constexpr (sizeof(mask[0]) == 4) return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#elif RAPT_LANES == 8 && defined(__AVX2__)
  return _mm256_testz_si256(reinterpret_cast<__m256i>(mask), reinterpret_cast<__m256i>(mask)) == 0;
#endif
  for (unsigned long i = 0; i < sizeof(mask) / sizeof(mask[0]); ++i) {
    if (mask[i] != 0) return true;
  }
  return false;
}

/// Combines all lanes in a fixed order of pairs; every lane of the result holds the total.
template <int step, typename V, typename Combine>
RAPT_INLINE V fold(V v, Combine combine) {
  using Index = decltype(v > v);
  constexpr int width = sizeof(V) / sizeof(v[0]);
  Index partner;
  for (int i = 0; i < width; ++i) partner[i] = i ^ step;
  v = combine(v, __builtin_shuffle(v, partner));
  if constexpr (step > 1) v = fold<step / 2>(v, combine);
  return v;
}
template <typename S>
RAPT_INLINE S sum_of_lanes(Vector<S> v) {
  return fold<Simd<S>::width / 2>(v, [](auto a, auto b) { return a + b; })[0];
}
template <typename S>
RAPT_INLINE S maximum_of_lanes(Vector<S> v) {
  return fold<Simd<S>::width / 2>(v, [](auto a, auto b) { return max(a, b); })[0];
}

/// One step of a square transposition: swaps the off-diagonal blocks of `step` lanes between rows i and i + step.
template <int step, typename S>
RAPT_INLINE void exchange(Vector<S>& a, Vector<S>& b) {
  constexpr int width = Simd<S>::width;
  Mask<S> upper, lower;
  for (int i = 0; i < width; ++i) {
    upper[i] = (i & step) ? width + i - step : i;
    lower[i] = (i & step) ? width + i : i + step;
  }
  const Vector<S> first = a;
  a = __builtin_shuffle(first, b, upper);
  b = __builtin_shuffle(first, b, lower);
}
template <int step, typename S>
RAPT_INLINE void transpose(Vector<S>* v) {
#pragma GCC unroll 16
  for (int i = 0; i < Simd<S>::width; ++i) {
    if ((i & step) == 0) exchange<step, S>(v[i], v[i + step]);
  }
  if constexpr (step > 1) transpose<step / 2, S>(v);
}

// Memory.

/// Hands out 64-byte aligned pieces of a buffer; with base 0 it only measures.
struct Carver {
  uint64_t base;
  uint64_t used = 0;

  template <typename S>
  RAPT_INLINE S* take(long count) {
    S* piece = reinterpret_cast<S*>(base + used);
    used += (static_cast<uint64_t>(count) * sizeof(S) + 63) / 64 * 64;
    return piece;
  }
};

/// Fills in `buffers` (which has a member carve(Carver&)) from this thread's scratch memory.
template <typename Buffers>
RAPT_INLINE void allocate(Buffers& buffers) {
  Carver measure{0};
  buffers.carve(measure);
  Carver carver{reinterpret_cast<uint64_t>(thread_scratch(static_cast<long>(measure.used)))};
  buffers.carve(carver);
}

template <typename S>
RAPT_INLINE void clear(S* p, long count) {
  if (count > 0) memset(static_cast<void*>(p), 0, static_cast<unsigned long>(count) * sizeof(S));
}

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
