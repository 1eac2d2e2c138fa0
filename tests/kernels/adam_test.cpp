#include "kernels/adam.h"

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

/// Kingma, Ba 2015, algorithm 1, with the decoupled decay of Loshchilov, Hutter 2019, algorithm 2.
void reference(const AdamStep& step, Values& weight, const Values& gradient, Values& m, Values& v) {
  const auto t = static_cast<double>(step.step);
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const double g = gradient[i] * step.gradient_scale;
    m[i] = step.beta1 * m[i] + (1 - step.beta1) * g;
    v[i] = step.beta2 * v[i] + (1 - step.beta2) * g * g;
    const double m_hat = m[i] / (1 - std::pow(step.beta1, t));
    const double v_hat = v[i] / (1 - std::pow(step.beta2, t));
    weight[i] -= step.learning_rate * (m_hat / (std::sqrt(v_hat) + step.epsilon) + step.weight_decay * weight[i]);
  }
}

TEST(Adam, FollowsTheReferenceOverSteps) {
  const Context ctx;
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : shapes) {
      for (const double weight_decay : {0.0, 0.01}) {
        const Tensor weight = random_tensor(shape, dtype, 1);
        const Tensor m = Tensor::zeros(shape, dtype);
        const Tensor v = Tensor::zeros(shape, dtype);
        Values expected = values_of(weight);
        Values expected_m(expected.size());
        Values expected_v(expected.size());
        for (std::int64_t step = 1; step <= 5; ++step) {
          const AdamStep options{
              .learning_rate = 0.01, .weight_decay = weight_decay, .gradient_scale = 0.3, .step = step};
          const Tensor gradient = random_tensor(shape, dtype, 10 + static_cast<std::uint64_t>(step));
          adam_update(ctx, options, weight, gradient, m, v);
          reference(options, expected, values_of(gradient), expected_m, expected_v);
        }
        expect_close(m, expected_m, 16 * roundoff(dtype), 4 * roundoff(dtype), "m");
        expect_close(v, expected_v, 32 * roundoff(dtype), 0, "v");
        expect_close(weight, expected, 16 * roundoff(dtype), 4 * roundoff(dtype), "weight");
      }
    }
  }
}

TEST(Adam, WithoutGradientOnlyDecayMovesAWeight) {
  const Context ctx;
  const Tensor weight = constant_tensor({20}, DType::f32, 2);
  const Tensor zeros = Tensor::zeros({20}, DType::f32);
  adam_update(ctx, {}, weight, zeros, zeros.clone(), zeros.clone());
  for (const double w : values_of(weight)) EXPECT_EQ(w, 2);
  adam_update(ctx, {.learning_rate = 0.5, .weight_decay = 0.5}, weight, zeros, zeros.clone(), zeros.clone());
  for (const double w : values_of(weight)) EXPECT_EQ(w, 1.5);
}

TEST(Adam, SameBitsForAnyNumberOfThreads) {
  const Shape shape{300, 513};
  for (const DType dtype : {DType::f32, DType::f64}) {
    expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
      const Tensor weight = random_tensor(shape, dtype, 1);
      const Tensor m = random_tensor(shape, dtype, 2);
      const Tensor v = constant_tensor(shape, dtype, 0.25);
      adam_update(ctx, {.weight_decay = 0.1, .step = 3}, weight, random_tensor(shape, dtype, 4), m, v);
      return {weight, m, v};
    });
  }
}

TEST(Adam, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const Tensor a = Tensor::zeros({4}, DType::f32);
  const Tensor b = Tensor::zeros({5}, DType::f32);
  const Tensor c = Tensor::zeros({4}, DType::bf16);
  expect_error("adam_update: gradient is [5] f32, expected [4] f32", [&] { adam_update(ctx, {}, a, b, a, a); });
  expect_error("adam_update: m is [4] bf16", [&] { adam_update(ctx, {}, a, a, c, a); });
  expect_error("adam_update: v is undefined", [&] { adam_update(ctx, {}, a, a, a, {}); });
  expect_error("adam_update: weight holds bf16", [&] { adam_update(ctx, {}, c, c, c, c); });
  expect_error("adam_update: step is 0", [&] { adam_update(ctx, {.step = 0}, a, a, a, a); });
}

}  // namespace
}  // namespace rapt::kernels
