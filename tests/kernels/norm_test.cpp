#include "kernels/norm.h"

#include <limits>

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

const Dropout dropout{.probability = 0.1f, .key = {.low = 77, .high = 88}};

/// Random operands of a layer normalisation; weights around 1, x away from 0.
LayerNorm random_norm(const Shape& shape, DType dtype, bool residual, const Dropout& drop) {
  const DType statistics = accumulator(dtype);
  LayerNorm norm{.x = random_tensor(shape, dtype, 1, 2),
                 .s = residual ? random_tensor(shape, dtype, 2) : Tensor(),
                 .dropout = drop,
                 .z = residual ? Tensor::empty(shape, dtype) : Tensor(),
                 .weight = random_tensor({shape[1]}, statistics, 3, 0.3),
                 .bias = random_tensor({shape[1]}, statistics, 4, 0.3),
                 .epsilon = 1e-3,
                 .y = Tensor::empty(shape, dtype),
                 .mean = Tensor::empty({shape[0]}, statistics),
                 .inverse_deviation = Tensor::empty({shape[0]}, statistics)};
  return norm;
}

LayerNormGradient random_gradient(const LayerNorm& norm, bool residual) {
  const Shape& shape = norm.x.shape();
  const DType dtype = norm.x.dtype();
  return {.dy = random_tensor(shape, dtype, 5),
          .dz_residual = residual ? random_tensor(shape, dtype, 6) : Tensor(),
          .dx = Tensor::empty(shape, dtype),
          .ds = norm.s.defined() ? Tensor::empty(shape, dtype) : Tensor(),
          .d_weight = random_tensor(norm.weight.shape(), norm.weight.dtype(), 7),
          .d_bias = random_tensor(norm.weight.shape(), norm.weight.dtype(), 8)};
}

struct Reference {
  Values y, mean, inverse_deviation, dx, ds, d_weight, d_bias;
};

/// Everything in f64 from the z that the kernel rounded; d_weight and d_bias begin with what the gradient holds.
Reference reference(const LayerNorm& norm, const LayerNormGradient& gradient) {
  const auto rows = static_cast<std::size_t>(norm.x.dim(0));
  const auto width = static_cast<std::size_t>(norm.x.dim(1));
  const auto n = static_cast<double>(width);
  const Values z = values_of(norm.z.defined() ? norm.z : norm.x);
  const Values weight = values_of(norm.weight);
  const Values bias = values_of(norm.bias);
  const Values dy = values_of(gradient.dy);
  const Values residual = gradient.dz_residual.defined() ? values_of(gradient.dz_residual) : Values(z.size());
  Reference result{.y = z,
                   .mean = Values(rows),
                   .inverse_deviation = Values(rows),
                   .dx = z,
                   .ds = z,
                   .d_weight = values_of(gradient.d_weight),
                   .d_bias = values_of(gradient.d_bias)};
  for (std::size_t row = 0; row < rows; ++row) {
    double mean = 0, variance = 0, mean_g = 0, mean_g_normal = 0;
    for (std::size_t c = 0; c < width; ++c) mean += z[row * width + c] / n;
    for (std::size_t c = 0; c < width; ++c) variance += std::pow(z[row * width + c] - mean, 2) / n;
    const double inverse = 1 / std::sqrt(variance + norm.epsilon);
    const auto normal = [&](std::size_t c) { return (z[row * width + c] - mean) * inverse; };
    for (std::size_t c = 0; c < width; ++c) {
      const double gradient_y = dy[row * width + c];
      mean_g += gradient_y * weight[c] / n;
      mean_g_normal += gradient_y * weight[c] * normal(c) / n;
      result.d_weight[c] += gradient_y * normal(c);
      result.d_bias[c] += gradient_y;
    }
    for (std::size_t c = 0; c < width; ++c) {
      const std::size_t i = row * width + c;
      result.y[i] = normal(c) * weight[c] + bias[c];
      result.dx[i] = inverse * (dy[i] * weight[c] - mean_g - normal(c) * mean_g_normal) + residual[i];
      result.ds[i] = result.dx[i] * dropout_factor(norm.dropout, static_cast<std::int64_t>(i));
    }
    result.mean[row] = mean;
    result.inverse_deviation[row] = inverse;
  }
  return result;
}

void expect_reference(const LayerNorm& norm, const LayerNormGradient& gradient) {
  const Context ctx;
  const DType dtype = norm.x.dtype();
  const double wide = roundoff(accumulator(dtype));
  layer_norm_forward(ctx, norm);
  const Reference expected = reference(norm, gradient);
  layer_norm_backward(ctx, norm, gradient);
  expect_close(norm.mean, expected.mean, 4 * wide, 16 * wide, "mean");
  expect_close(norm.inverse_deviation, expected.inverse_deviation, 32 * wide, 0, "inverse_deviation");
  expect_close(norm.y, expected.y, roundoff(dtype) + 4 * wide, 100 * wide, "y");
  expect_close(gradient.dx, expected.dx, roundoff(dtype) + 4 * wide, 1000 * wide, "dx");
  if (gradient.ds.defined()) expect_close(gradient.ds, expected.ds, roundoff(dtype) + 4 * wide, 1000 * wide, "ds");
  const double rows = static_cast<double>(norm.x.dim(0));
  expect_close(gradient.d_weight, expected.d_weight, 4 * wide, 100 * std::sqrt(rows) * wide, "d_weight");
  expect_close(gradient.d_bias, expected.d_bias, 4 * wide, 100 * std::sqrt(rows) * wide, "d_bias");
}

TEST(LayerNorm, FollowsItsFormulas) {
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      for (const bool residual : {false, true}) {
        for (const Dropout& drop : {Dropout{}, dropout}) {
          const LayerNorm norm = random_norm(shape, dtype, residual, drop);
          expect_reference(norm, random_gradient(norm, residual));
        }
      }
    }
  }
}

TEST(LayerNorm, ResidualIsXPlusWhatTheMaskKeepsOfS) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Shape& shape : shapes) {
      const LayerNorm norm = random_norm(shape, dtype, true, dropout);
      layer_norm_forward(ctx, norm);
      Values expected = values_of(norm.x);
      const Values s = values_of(norm.s);
      for (std::size_t i = 0; i < s.size(); ++i) {
        expected[i] += s[i] * dropout_factor(dropout, static_cast<std::int64_t>(i));
      }
      expect_close(norm.z, expected, 1.5 * roundoff(dtype), 8 * roundoff(accumulator(dtype)));
    }
  }
}

TEST(LayerNorm, StatisticsSurviveALargeMean) {
  const Context ctx;
  const LayerNorm norm = random_norm({2, 512}, DType::f32, false, {});
  auto* x = norm.x.write<float>();
  for (int i = 0; i < 1024; ++i) x[i] += 1000;
  const Reference expected = reference(norm, random_gradient(norm, false));
  layer_norm_forward(ctx, norm);
  expect_close(norm.inverse_deviation, expected.inverse_deviation, 1e-5, 0);
}

TEST(LayerNorm, ARowDoesNotDependOnItsBatch) {
  const Context ctx;
  for (const DType dtype : floating) {
    const LayerNorm batch = random_norm({7, 130}, dtype, true, {});
    layer_norm_forward(ctx, batch);
    LayerNorm alone = random_norm({1, 130}, dtype, true, {});
    alone.x = batch.x.rows(5, 6);
    alone.s = batch.s.rows(5, 6);
    alone.weight = batch.weight;
    alone.bias = batch.bias;
    layer_norm_forward(ctx, alone);
    expect_same_bits(alone.y, batch.y.rows(5, 6));
    expect_same_bits(alone.z, batch.z.rows(5, 6));
  }
}

TEST(LayerNorm, GradientsMatchDifferences) {
  const Context ctx;
  for (const Shape& shape : {Shape{3, 17}, Shape{5, 9}}) {
    const LayerNorm norm = random_norm(shape, DType::f64, true, dropout);
    LayerNormGradient gradient = random_gradient(norm, true);
    gradient.d_weight = Tensor::zeros(norm.weight.shape(), DType::f64);
    gradient.d_bias = Tensor::zeros(norm.weight.shape(), DType::f64);
    const auto loss = [&] {
      layer_norm_forward(ctx, norm);
      return dot(norm.y, gradient.dy) + dot(norm.z, gradient.dz_residual);
    };
    loss();
    layer_norm_backward(ctx, norm, gradient);
    expect_gradient(norm.x, gradient.dx, loss);
    expect_gradient(norm.s, gradient.ds, loss);
    expect_gradient(norm.weight, gradient.d_weight, loss);
    expect_gradient(norm.bias, gradient.d_bias, loss);
  }
}

TEST(LayerNorm, SameBitsForAnyNumberOfThreads) {
  for (const DType dtype : floating) {
    for (const Shape& shape : {Shape{300, 513}, Shape{5000, 17}}) {
      expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
        const LayerNorm norm = random_norm(shape, dtype, true, dropout);
        const LayerNormGradient gradient = random_gradient(norm, true);
        layer_norm_forward(ctx, norm);
        layer_norm_backward(ctx, norm, gradient);
        return {norm.y,      norm.z,      norm.mean,         norm.inverse_deviation,
                gradient.dx, gradient.ds, gradient.d_weight, gradient.d_bias};
      });
    }
  }
}

TEST(LayerNorm, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const LayerNorm good = random_norm({4, 8}, DType::f32, true, {});
  LayerNorm norm = good;
  norm.weight = Tensor::zeros({7}, DType::f32);
  expect_error("layer_norm_forward: weight is [7] f32, expected [8] f32", [&] { layer_norm_forward(ctx, norm); });
  norm = good;
  norm.s = Tensor::zeros({4, 8}, DType::bf16);
  expect_error("layer_norm_forward: s is [4, 8] bf16", [&] { layer_norm_forward(ctx, norm); });
  norm = good;
  norm.s = {};
  expect_error("without s there is no z", [&] { layer_norm_forward(ctx, norm); });
  norm = good;
  norm.x = Tensor::zeros({4, 8, 1}, DType::f32);
  norm.z = {};
  expect_error("expected [rows, width]", [&] { layer_norm_forward(ctx, norm); });
  LayerNormGradient gradient = random_gradient(good, true);
  gradient.d_bias = Tensor::zeros({8}, DType::f64);
  expect_error("layer_norm_backward: d_bias is [8] f64", [&] { layer_norm_backward(ctx, good, gradient); });
  gradient = random_gradient(good, true);
  gradient.dx = {};
  expect_error("layer_norm_backward: dx is undefined", [&] { layer_norm_backward(ctx, good, gradient); });
}

}  // namespace
}  // namespace rapt::kernels
