/// Loops over arrays by vectors. For *.isa.cpp only, like simd.h: everything has internal linkage.
#pragma once

#include "kernels/simd.h"

namespace rapt::kernels {
namespace {

/// On a lambda: inlined wherever it is called.
#define RAPT_INLINE_LAMBDA __attribute__((always_inline))

/// How much of a vector an iteration works on: all of its lanes, or the first `count`.
struct Whole {};
struct Part {
  int count;
};

template <typename T>
RAPT_INLINE auto load(const T* p, Whole) {
  return load(p);
}
template <typename T>
RAPT_INLINE auto load(const T* p, Part part) {
  return load_part(p, part.count);
}
template <typename V, typename T>
RAPT_INLINE void store(V v, T* p, Whole) {
  store(v, p);
}
template <typename V, typename T>
RAPT_INLINE void store(V v, T* p, Part part) {
  store_part(v, p, part.count);
}

/// The lanes an iteration works on, and `fill` in the others.
template <typename V>
RAPT_INLINE V keep_part(V v, Whole, V) {
  return v;
}
RAPT_INLINE F32 keep_part(F32 v, Part part, F32 fill) {
  for (int i = 0; i < lanes; ++i) v[i] = i < part.count ? v[i] : fill[i];
  return v;
}
RAPT_INLINE F64 keep_part(F64 v, Part part, F64 fill) {
  for (int i = 0; i < lanes / 2; ++i) v[i] = i < part.count ? v[i] : fill[i];
  return v;
}

/// Calls body(i, Whole or Part) for every vector of `count` elements of T.
template <typename T, typename Body>
RAPT_INLINE void each_vector(int64_t count, Body body) {
  constexpr int width = Simd<T>::width;
  int64_t i = 0;
  for (; i + width <= count; i += width) body(i, Whole{});
  if (i < count) body(i, Part{static_cast<int>(count - i)});
}

/// Which of several accumulators an iteration adds to.
template <int n>
struct Slot {
  static constexpr int index = n;
};
constexpr int slots = 4;

/// The same for reductions: body(i, Slot, Whole or Part) adds to one of four accumulators, so that additions need not
/// wait for each other.
template <typename T, typename Body>
RAPT_INLINE void reduce_vectors(int64_t count, Body body) {
  constexpr int width = Simd<T>::width;
  int64_t i = 0;
  for (; i + slots * width <= count; i += slots * width) {
    body(i, Slot<0>{}, Whole{});
    body(i + width, Slot<1>{}, Whole{});
    body(i + 2 * width, Slot<2>{}, Whole{});
    body(i + 3 * width, Slot<3>{}, Whole{});
  }
  for (; i + width <= count; i += width) body(i, Slot<0>{}, Whole{});
  if (i < count) body(i, Slot<0>{}, Part{static_cast<int>(count - i)});
}
template <typename V>
RAPT_INLINE V combine(const V (&accumulators)[slots]) {
  return (accumulators[0] + accumulators[1]) + (accumulators[2] + accumulators[3]);
}

/// Calls f(Type<T>) for the C++ type of a floating-point DType.
template <typename T>
struct Type {};
template <typename F>
RAPT_INLINE void with_type(DType dtype, F f) {
  if (dtype == DType::f32) f(Type<float>{});
  if (dtype == DType::bf16) f(Type<bf16>{});
  if (dtype == DType::f64) f(Type<double>{});
}

}  // namespace
}  // namespace rapt::kernels
