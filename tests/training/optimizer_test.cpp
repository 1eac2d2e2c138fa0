#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "formats/scratch.h"

namespace rapt::training {
namespace {

/// A matrix and a vector, all elements at `start`.
ParameterList two_parameters(double start) {
  const auto matrix = std::make_shared<Weight>(Shape{2, 2}, DType::f32);
  const auto vector = std::make_shared<Weight>(Shape{2}, DType::f32);
  for (int i = 0; i < 4; ++i) matrix->value().write<float>()[i] = static_cast<float>(start);
  for (int i = 0; i < 2; ++i) vector->value().write<float>()[i] = static_cast<float>(start);
  return {{"m.weight", matrix, 0, 2}, {"v.bias", vector, 0, 2}};
}

void set_gradient(const Parameter& parameter, const std::function<double(double)>& gradient) {
  const Weight::Slot slot = parameter.weight->gradient_slot();
  const float* value = parameter.weight->value().data<float>();
  for (std::int64_t i = 0; i < slot.tensor.count(); ++i)
    slot.tensor.write<float>()[i] = static_cast<float>(gradient(static_cast<double>(value[i])));
}

float first(const Parameter& parameter) {
  return *parameter.value().data<float>();
}

TEST(Optimizer, FindsTheMinimumOfAQuadratic) {
  const Context ctx({.threads = 1});
  const ParameterList parameters = two_parameters(5);
  Optimizer optimizer(parameters, {.beta2 = 0.99});
  for (int i = 0; i < 500; ++i) {
    for (const Parameter& parameter : parameters) set_gradient(parameter, [](double x) { return 2 * (x - 3); });
    optimizer.update(ctx, i < 400 ? 0.05 : 0.005, 1);
    optimizer.clear_gradients();
  }
  EXPECT_EQ(optimizer.updates(), 500);
  for (const Parameter& parameter : parameters) EXPECT_NEAR(first(parameter), 3, 1e-2) << parameter.name;
}

/// Adam written out, in double precision.
TEST(Optimizer, DoesWhatThePaperSays) {
  const Context ctx({.threads = 1});
  const ParameterList parameters = two_parameters(1);
  const OptimizerOptions options{.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9};
  Optimizer optimizer(parameters, options);
  double x = 1;
  double m = 0;
  double v = 0;
  for (int t = 1; t <= 20; ++t) {
    set_gradient(parameters[0], [&](double value) { return value * value + 0.1 * t; });
    optimizer.update(ctx, 0.01, 0.5);
    optimizer.clear_gradients();
    const double g = 0.5 * (x * x + 0.1 * t);
    m = options.beta1 * m + (1 - options.beta1) * g;
    v = options.beta2 * v + (1 - options.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(options.beta1, t));
    const double v_hat = v / (1 - std::pow(options.beta2, t));
    x -= 0.01 * m_hat / (std::sqrt(v_hat) + options.epsilon);
    EXPECT_NEAR(first(parameters[0]), x, 1e-5) << "step " << t;
  }
  EXPECT_EQ(first(parameters[1]), 1) << "a weight without a gradient stays";
}

TEST(Optimizer, DecaysMatricesAndNotVectors) {
  const Context ctx({.threads = 1});
  const ParameterList parameters = two_parameters(2);
  Optimizer optimizer(parameters, {.kind = OptimizerKind::adamw, .weight_decay = 0.1});
  for (const Parameter& parameter : parameters) set_gradient(parameter, [](double) { return 0; });
  optimizer.update(ctx, 0.5, 1);
  EXPECT_NEAR(first(parameters[0]), 2 - 0.5 * 0.1 * 2, 1e-6);
  EXPECT_EQ(first(parameters[1]), 2);
}

TEST(Optimizer, NormIsOfAllGradientsTogether) {
  const Context ctx({.threads = 1});
  const ParameterList parameters = two_parameters(1);
  Optimizer optimizer(parameters, {});
  EXPECT_EQ(optimizer.gradient_norm(ctx), 0);
  set_gradient(parameters[0], [](double) { return 1; });
  set_gradient(parameters[1], [](double) { return -4; });
  EXPECT_DOUBLE_EQ(optimizer.gradient_norm(ctx), std::sqrt(4 * 1 + 2 * 16));
  set_gradient(parameters[1], [](double) { return std::numeric_limits<double>::infinity(); });
  EXPECT_FALSE(std::isfinite(optimizer.gradient_norm(ctx)));
}

TEST(Optimizer, MomentsRestoreIt) {
  const Context ctx({.threads = 1});
  const auto advance = [&](Optimizer& optimizer, const ParameterList& parameters, int steps) {
    for (int i = 0; i < steps; ++i) {
      for (const Parameter& parameter : parameters) set_gradient(parameter, [](double x) { return 2 * x; });
      optimizer.update(ctx, 0.1, 1);
      optimizer.clear_gradients();
    }
  };
  const ParameterList straight = two_parameters(1);
  Optimizer optimizer(straight, {});
  advance(optimizer, straight, 6);

  const ParameterList before = two_parameters(1);
  Optimizer first_half(before, {});
  advance(first_half, before, 3);
  Optimizer second_half(before, {});
  const auto from = first_half.moments();
  const auto to = second_half.moments();
  ASSERT_EQ(from.size(), 4u);
  EXPECT_EQ(from[0].name, "m.weight.m");
  EXPECT_EQ(from[3].name, "v.bias.v");
  for (std::size_t i = 0; i < from.size(); ++i)
    std::copy_n(from[i].tensor.data<float>(), from[i].tensor.count(), to[i].tensor.write<float>());
  second_half.restore(first_half.updates());
  advance(second_half, before, 3);
  for (std::size_t i = 0; i < straight.size(); ++i) EXPECT_EQ(first(before[i]), first(straight[i]));
}

TEST(Optimizer, OptionsAreChecked) {
  EXPECT_TRUE(refuses([] { check(OptimizerOptions{.beta1 = 1}); }, "--beta1"));
  EXPECT_TRUE(refuses([] { check(OptimizerOptions{.beta2 = -0.1}); }, "--beta2"));
  EXPECT_TRUE(refuses([] { check(OptimizerOptions{.epsilon = 0}); }, "--epsilon"));
  EXPECT_TRUE(refuses([] { check(OptimizerOptions{.weight_decay = 0.1}); }, "--weight-decay", "adamw"));
}

}  // namespace
}  // namespace rapt::training
