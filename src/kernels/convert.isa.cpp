#include "kernels/simd.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename From, typename To>
void convert(const void* source, void* result, long count) {
  const From* from = static_cast<const From*>(source);
  To* to = static_cast<To*>(result);
  long i = 0;
  if constexpr (Simd<From>::width == Simd<To>::width) {
    for (; i + Simd<From>::width <= count; i += Simd<From>::width) store(load(from + i), to + i);
  }
  for (; i < count; ++i) narrow(static_cast<typename Simd<To>::Scalar>(widen(from[i])), to + i);
}

template <typename From>
void convert_from(const void* source, DType to, void* result, long count) {
  if (to == DType::f32) convert<From, float>(source, result, count);
  if (to == DType::bf16) convert<From, bf16>(source, result, count);
  if (to == DType::f64) convert<From, double>(source, result, count);
}

}  // namespace

void convert_elements(DType from, const void* source, DType to, void* result, long count) {
  if (from == DType::f32) convert_from<float>(source, to, result, count);
  if (from == DType::bf16) convert_from<bf16>(source, to, result, count);
  if (from == DType::f64) convert_from<double>(source, to, result, count);
}

}  // namespace rapt::kernels::RAPT_ISA
