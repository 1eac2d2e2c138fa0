#include "kernels/activations.h"
#include "kernels/blocks.h"
#include "kernels/dropout.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename T, typename Drop>
void add_dropout(const ElementsBlock& block, Drop& drop) {
  const T* x = static_cast<const T*>(block.x);
  const T* s = static_cast<const T*>(block.y);
  T* z = static_cast<T*>(block.result);
  if (x == nullptr) {
    each_vector_with_dropout<T>(drop, block.begin, block.count,
                                [=](int64_t i, auto part, auto keep)
                                    RAPT_INLINE_LAMBDA { store(keep(load(s + i, part)), z + i, part); });
  } else {
    each_vector_with_dropout<T>(drop, block.begin, block.count,
                                [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
                                  store(load(x + i, part) + keep(load(s + i, part)), z + i, part);
                                });
  }
}

template <typename T, typename Op, typename Drop>
void activation_forward(const ElementsBlock& block, Drop& drop) {
  const T* x = static_cast<const T*>(block.x);
  T* y = static_cast<T*>(block.result);
  each_vector_with_dropout<T>(drop, block.begin, block.count, [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
    store(keep(Op::value(load(x + i, part))), y + i, part);
  });
}

template <typename T, typename Op, typename Drop>
void activation_backward(const ElementsBlock& block, Drop& drop) {
  const T* x = static_cast<const T*>(block.x);
  const T* dy = static_cast<const T*>(block.y);
  T* dx = static_cast<T*>(block.result);
  each_vector_with_dropout<T>(drop, block.begin, block.count, [=](int64_t i, auto part, auto keep) RAPT_INLINE_LAMBDA {
    store(Op::gradient(load(x + i, part), keep(load(dy + i, part))), dx + i, part);
  });
}

/// sums[column] += sum over rows of x; eight rows at a time, so that the sums are read and written seldom.
template <typename T>
void column_sums(const T* x, int64_t rows, int64_t width, typename Simd<T>::Scalar* sums) {
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8, x += 8 * width) {
    each_vector<T>(width, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const auto at = [=](int64_t r) RAPT_INLINE_LAMBDA { return load(x + r * width + i, part); };
      const auto eight = ((at(0) + at(1)) + (at(2) + at(3))) + ((at(4) + at(5)) + (at(6) + at(7)));
      store(load(sums + i, part) + eight, sums + i, part);
    });
  }
  for (; row < rows; ++row, x += width) {
    each_vector<T>(width, [=](int64_t i, auto part)
                              RAPT_INLINE_LAMBDA { store(load(sums + i, part) + load(x + i, part), sums + i, part); });
  }
}

typedef float F32Half __attribute__((vector_size(RAPT_LANES * 2)));

RAPT_INLINE F64 load_as_double(const float* p) {
  F32Half half;
  memcpy(&half, p, sizeof half);
  return __builtin_convertvector(half, F64);
}
RAPT_INLINE F64 load_as_double(const double* p) {
  return load(p);
}

template <typename T>
double sum_of_squares(const T* x, int64_t count) {
  constexpr int width = Simd<double>::width;
  F64 sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * width <= count; i += 4 * width) {
    for (int k = 0; k < 4; ++k) {
      const F64 v = load_as_double(x + i + k * width);
      sums[k] += v * v;
    }
  }
  double rest = 0;
  for (; i < count; ++i) rest += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

}  // namespace

void add_dropout_block(const ElementsBlock& block) {
  with_type(block.dtype,
            [&]<typename T>(Type<T>) { with_dropout(block.mask, [&](auto& drop) { add_dropout<T>(block, drop); }); });
}

void accumulate_block(const ElementsBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    const T* addend = static_cast<const T*>(block.x);
    T* total = static_cast<T*>(block.result);
    each_vector<T>(block.count, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      store(load(total + i, part) + load(addend + i, part), total + i, part);
    });
  });
}

void scale_block(const ElementsBlock& block, double factor) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    T* y = static_cast<T*>(block.result);
    const auto f = static_cast<typename Simd<T>::Scalar>(factor);
    each_vector<T>(block.count,
                   [=](int64_t i, auto part) RAPT_INLINE_LAMBDA { store(load(y + i, part) * f, y + i, part); });
  });
}

void activation_forward_block(Activation activation, const ElementsBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    with_activation(activation, [&]<typename Op>(Op) {
      with_dropout(block.mask, [&](auto& drop) { activation_forward<T, Op>(block, drop); });
    });
  });
}

void activation_backward_block(Activation activation, const ElementsBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    with_activation(activation, [&]<typename Op>(Op) {
      with_dropout(block.mask, [&](auto& drop) { activation_backward<T, Op>(block, drop); });
    });
  });
}

void soft_cap_forward_block(double cap, const ElementsBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    const T* x = static_cast<const T*>(block.x);
    T* y = static_cast<T*>(block.result);
    const auto c = static_cast<typename Simd<T>::Scalar>(cap);
    each_vector<T>(block.count, [=](int64_t i, auto part)
                                    RAPT_INLINE_LAMBDA { store(tanh(load(x + i, part) / c) * c, y + i, part); });
  });
}

void soft_cap_backward_block(double cap, const ElementsBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    const T* x = static_cast<const T*>(block.x);
    const T* dy = static_cast<const T*>(block.y);
    T* dx = static_cast<T*>(block.result);
    const auto c = static_cast<typename Simd<T>::Scalar>(cap);
    each_vector<T>(block.count, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const auto t = tanh(load(x + i, part) / c);
      store(load(dy + i, part) * (1 - t * t), dx + i, part);
    });
  });
}

void column_sums_block(DType dtype, const void* x, int64_t rows, int64_t width, void* sums) {
  with_type(dtype, [&]<typename T>(Type<T>) {
    column_sums(static_cast<const T*>(x), rows, width, static_cast<typename Simd<T>::Scalar*>(sums));
  });
}

void sum_of_squares_block(DType dtype, const void* x, int64_t count, double* result) {
  if (dtype == DType::f32) *result = sum_of_squares(static_cast<const float*>(x), count);
  if (dtype == DType::f64) *result = sum_of_squares(static_cast<const double*>(x), count);
}

}  // namespace rapt::kernels::RAPT_ISA
