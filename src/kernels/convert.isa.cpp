#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename From, typename To>
void convert(const From* from, To* to, int64_t count) {
  if constexpr (Simd<From>::width == Simd<To>::width) {
    each_vector<From>(count,
                      [=](int64_t i, auto part) RAPT_INLINE_LAMBDA { store(load(from + i, part), to + i, part); });
  } else {
    for (int64_t i = 0; i < count; ++i) narrow(static_cast<typename Simd<To>::Scalar>(widen(from[i])), to + i);
  }
}

}  // namespace

void convert_elements(DType from, const void* source, DType to, void* result, long count) {
  with_type(from, [&]<typename From>(Type<From>) {
    with_type(
        to, [&]<typename To>(Type<To>) { convert(static_cast<const From*>(source), static_cast<To*>(result), count); });
  });
}

}  // namespace rapt::kernels::RAPT_ISA
