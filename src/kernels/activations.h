/// The activations as functions of vectors. For *.isa.cpp only, like simd.h: everything has internal linkage.
#pragma once

#include "kernels/activation.h"
#include "kernels/functions.h"

namespace rapt::kernels {
namespace {

/// An activation: its value, and its derivative at x times a gradient.
struct Relu {
  template <typename V>
  static RAPT_INLINE V value(V x) {
    return x < 0 ? V{} : x;
  }
  template <typename V>
  static RAPT_INLINE V gradient(V x, V dy) {
    return x > 0 ? dy : V{};
  }
};

struct Gelu {
  template <typename V>
  static RAPT_INLINE V value(V x) {
    return x * normal_cdf(x);
  }
  template <typename V>
  static RAPT_INLINE V gradient(V x, V dy) {
    using Scalar = decltype(x[0] + 0);
    constexpr Scalar inverse_sqrt_2pi = static_cast<Scalar>(0.39894228040143267794);
    const V density = exp_nonpositive(x * x * static_cast<Scalar>(-0.5)) * inverse_sqrt_2pi;
    return dy * (normal_cdf(x) + x * density);
  }
};

/// (1 + tanh u) / 2 = sigmoid(2 u).
struct GeluTanh {
  template <typename V>
  static RAPT_INLINE V value(V x) {
    return x * sigmoid(twice_u(x)).value;
  }
  template <typename V>
  static RAPT_INLINE V gradient(V x, V dy) {
    const auto s = sigmoid(twice_u(x));
    const V slope = linear<V> * (x * x * (3 * cubic<V>)+1);
    return dy * (s.value + x * s.derivative * slope);
  }

 private:
  template <typename V>
  static constexpr auto linear = static_cast<decltype(V{}[0] + 0)>(1.59576912160573071176);  // 2 sqrt(2 / pi)
  template <typename V>
  static constexpr auto cubic = static_cast<decltype(V{}[0] + 0)>(0.044715);
  template <typename V>
  static RAPT_INLINE V twice_u(V x) {
    return linear<V> * x * (x * x * cubic<V> + 1);
  }
};

struct Silu {
  template <typename V>
  static RAPT_INLINE V value(V x) {
    return x * sigmoid(x).value;
  }
  template <typename V>
  static RAPT_INLINE V gradient(V x, V dy) {
    const auto s = sigmoid(x);
    return dy * (s.value + x * s.derivative);
  }
};

struct Tanh {
  template <typename V>
  static RAPT_INLINE V value(V x) {
    return tanh(x);
  }
  template <typename V>
  static RAPT_INLINE V gradient(V x, V dy) {
    const V t = tanh(x);
    return dy * (1 - t * t);
  }
};

/// Calls f with the struct of an activation.
template <typename F>
RAPT_INLINE void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::relu:
      return f(Relu{});
    case Activation::gelu:
      return f(Gelu{});
    case Activation::gelu_tanh:
      return f(GeluTanh{});
    case Activation::silu:
      return f(Silu{});
    case Activation::tanh:
      return f(Tanh{});
  }
}

}  // namespace
}  // namespace rapt::kernels
