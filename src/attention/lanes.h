/// The small vocabulary that all attention kernels are written in: vectors and their lanes, partial vectors, memory.
/// Included by *.isa.cpp only; everything has internal linkage (see kernels/simd.h).
#pragma once

#include "attention/kernel.h"
#include "kernels/simd.h"

namespace rapt::attention::RAPT_ISA {
namespace {

using namespace rapt::kernels;

template <typename S>
using Vector = typename Simd<S>::Vector;
template <typename S>
using Mask = typename Simd<S>::Mask;

RAPT_INLINE constexpr long at_most(long a, long b) {
  return a < b ? a : b;
}
RAPT_INLINE constexpr long at_least(long a, long b) {
  return a > b ? a : b;
}
RAPT_INLINE long round_up(long n, long multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

template <typename S>
constexpr S infinity = static_cast<S>(__builtin_inf());
template <typename S>
RAPT_INLINE Vector<S> minus_infinity() {
  return broadcast(-infinity<S>);
}

// Lanes.

template <typename S>
RAPT_INLINE Mask<S> lanes_below(long n) {
  Mask<S> index;
  for (int i = 0; i < Simd<S>::width; ++i) index[i] = i;
  return index < static_cast<decltype(index[0] + 0)>(n);
}
/// v with zeros (or `fill`) in the lanes from n on.
template <typename S>
RAPT_INLINE Vector<S> keep_below(Vector<S> v, long n, Vector<S> fill = Vector<S>{}) {
  return n >= Simd<S>::width ? v : lanes_below<S>(n) ? v : fill;
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

/// Whether a > b in any lane.
template <typename S>
RAPT_INLINE bool any_above(Vector<S> a, Vector<S> b) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  if constexpr (sizeof(S) == 4) {
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_GT_OQ) != 0;
  }
#endif
  return any(a > b);
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
/// Transposes the square of as many vectors as each has lanes; `step` begins at half of that.
template <int step, typename S>
RAPT_INLINE void transpose_square(Vector<S>* v) {
#pragma GCC unroll 16
  for (int i = 0; i < Simd<S>::width; ++i) {
    if ((i & step) == 0) exchange<step, S>(v[i], v[i + step]);
  }
  if constexpr (step > 1) transpose_square<step / 2, S>(v);
}

// Between vectors and rows that are not padded.

/// The first `n` elements (all of the vector when n >= width), zeros after.
template <typename T>
RAPT_INLINE auto load_at_most(const T* p, long n) {
  return n >= Simd<T>::width ? load(p) : load_part(p, static_cast<int>(n));
}
template <typename V, typename T>
RAPT_INLINE void store_at_most(V v, T* p, long n) {
  if (n >= Simd<T>::width) {
    store(v, p);
  } else {
    store_part(v, p, static_cast<int>(n));
  }
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
RAPT_INLINE Carver carver_of(const void* memory) {
  return {reinterpret_cast<uint64_t>(memory)};
}

/// Fills in `buffers` (which has a member carve(Carver&)) from this thread's scratch memory.
template <typename Buffers>
RAPT_INLINE void allocate(Buffers& buffers) {
  Carver measure{0};
  buffers.carve(measure);
  Carver carver = carver_of(thread_scratch(static_cast<long>(measure.used)));
  buffers.carve(carver);
}

template <typename S>
RAPT_INLINE void clear(S* p, long count) {
  if (count > 0) memset(static_cast<void*>(p), 0, static_cast<unsigned long>(count) * sizeof(S));
}

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
