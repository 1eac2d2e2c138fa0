#include "kernels/blocks.h"
#include "kernels/functions.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename T>
void update(const AdamBlock& block) {
  T* weight = static_cast<T*>(block.weight);
  const T* gradient = static_cast<const T*>(block.gradient);
  T* first = static_cast<T*>(block.m);
  T* second = static_cast<T*>(block.v);
  const T gradient_scale = static_cast<T>(block.gradient_scale);
  const T beta1 = static_cast<T>(block.beta1);
  const T beta2 = static_cast<T>(block.beta2);
  const T rest1 = static_cast<T>(1 - block.beta1);
  const T rest2 = static_cast<T>(1 - block.beta2);
  const T keep = static_cast<T>(block.keep);
  const T rate = static_cast<T>(block.rate);
  const T deviation = static_cast<T>(block.deviation);
  const T epsilon = static_cast<T>(block.epsilon);
  each_vector<T>(block.count, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    const auto g = load(gradient + i, part) * gradient_scale;
    const auto m = load(first + i, part) * beta1 + g * rest1;
    const auto v = load(second + i, part) * beta2 + g * g * rest2;
    store(m, first + i, part);
    store(v, second + i, part);
    const auto step = m * rate / (sqrt(v) * deviation + epsilon);
    store(load(weight + i, part) * keep - step, weight + i, part);
  });
}

}  // namespace

void adam_block(const AdamBlock& block) {
  if (block.dtype == DType::f32) update<float>(block);
  if (block.dtype == DType::f64) update<double>(block);
}

}  // namespace rapt::kernels::RAPT_ISA
