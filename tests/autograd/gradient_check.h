/// Gradient checks: what the tape says against central differences, in float64.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"

namespace rapt::testing {

/// Something to differentiate by.
struct Leaf {
  std::string name;
  Tensor value;
  std::function<Tensor()> gradient;
  std::function<void()> clear;
  std::function<void()> changed = [] {};
};

inline Leaf leaf(std::string name, const Var& x) {
  return {std::move(name), x.value(), [x] { return x.gradient(); }, [x] { (void)x.take_gradient(); }};
}
inline Leaf leaf(std::string name, const WeightPtr& w) {
  return {std::move(name), w->value(), [w] { return w->gradient(); }, [w] { w->clear_gradient(); },
          [w] { w->changed(); }};
}

inline void fill_random(const Tensor& tensor, std::uint64_t seed, double deviation = 1) {
  RandomSequence random(seed);
  for (std::int64_t i = 0; i < tensor.count(); ++i) tensor.write<double>()[i] = deviation * random.normal();
}
inline Var random_input(Shape shape, std::uint64_t seed) {
  const Tensor tensor = Tensor::empty(shape, DType::f64);
  fill_random(tensor, seed);
  return Var(tensor);
}
inline WeightPtr random_weight(Shape shape, std::uint64_t seed) {
  auto weight = std::make_shared<Weight>(shape, DType::f64);
  fill_random(weight->value(), seed);
  return weight;
}

/// Expects d(sum of c * forward()) / d(leaf) from the tape to equal central differences, for a fixed random c. forward
/// must compute the same function each time it is called (it is, with dropout too: the step of the random numbers is
/// restarted).
inline void check_gradients(const std::vector<Leaf>& leaves, const std::function<Var(Context&)>& forward,
                            double tolerance = 1e-6) {
  Context ctx({.threads = 2, .seed = 5, .compute = DType::f64});
  Tensor weights;
  const auto value = [&] {
    // A tape is set so that dropout is active; nothing is run backward.
    Tape unused;
    ctx.tape = &unused;
    ctx.random.start_step(1);
    const Var y = forward(ctx);
    double sum = 0;
    for (std::int64_t i = 0; i < y.value().count(); ++i) sum += weights.data<double>()[i] * y.value().data<double>()[i];
    return sum;
  };

  for (const Leaf& leaf : leaves) leaf.clear();
  Tape tape;
  ctx.tape = &tape;
  ctx.random.start_step(1);
  const Var y = forward(ctx);
  weights = Tensor::empty(y.shape(), DType::f64);
  fill_random(weights, 99);
  y.add_gradient(ctx, weights.clone());
  tape.run_backward(ctx);

  for (const Leaf& leaf : leaves) {
    ASSERT_TRUE(leaf.gradient().defined()) << leaf.name << " received no gradient";
    const Tensor gradient = leaf.gradient();
    double scale = 0;
    for (const double g : gradient.values<double>()) scale = std::max(scale, std::abs(g));
    for (std::int64_t i = 0; i < leaf.value.count(); ++i) {
      double& x = leaf.value.write<double>()[i];
      const double kept = x;
      constexpr double h = 1e-5;
      x = kept + h;
      leaf.changed();
      const double above = value();
      x = kept - h;
      leaf.changed();
      const double below = value();
      x = kept;
      leaf.changed();
      ASSERT_NEAR(gradient.data<double>()[i], (above - below) / (2 * h), tolerance * std::max(1.0, scale))
          << leaf.name << " element " << i;
    }
  }
  ctx.tape = nullptr;
}

}  // namespace rapt::testing
