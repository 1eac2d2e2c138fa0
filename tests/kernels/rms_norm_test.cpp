#include "kernels/rms_norm.h"

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

/// Groups within rows: a whole row, or heads with columns before and behind them.
struct Layout {
  std::int64_t rows, groups, width, before, behind;
  std::int64_t columns() const { return before + groups * width + behind; }
};
const std::vector<Layout> layouts = {{0, 1, 5, 0, 0}, {1, 1, 1, 0, 0},     {3, 1, 17, 0, 0},    {7, 1, 130, 0, 0},
                                     {4, 3, 8, 2, 5}, {5, 2, 64, 64, 128}, {300, 1, 513, 0, 0}, {90, 4, 80, 0, 80}};

RmsNorm random_norm(const Layout& layout, DType dtype, double weight_offset = 0) {
  const Shape shape{layout.rows, layout.columns()};
  return {.x = random_tensor(shape, dtype, 1, 2),
          .begin = layout.before,
          .groups = layout.groups,
          .weight = random_tensor({layout.width}, accumulator(dtype), 3),
          .weight_offset = weight_offset,
          .epsilon = 1e-3,
          .y = random_tensor(shape, dtype, 4),
          .inverse_rms = Tensor::empty({layout.rows, layout.groups}, accumulator(dtype))};
}

/// y, dx and d_weight in f64; what lies outside of the groups stays as it was.
struct Reference {
  Values y, dx, d_weight;
};
Reference reference(const Layout& layout, const RmsNorm& norm, const Tensor& dy, const Tensor& d_weight) {
  const Values x = values_of(norm.x);
  const Values weight = values_of(norm.weight);
  const Values gradient = values_of(dy);
  Reference result{values_of(norm.y), gradient, values_of(d_weight)};
  const auto width = static_cast<std::size_t>(layout.width);
  const auto n = static_cast<double>(layout.width);
  for (std::int64_t row = 0; row < layout.rows; ++row) {
    for (std::int64_t group = 0; group < layout.groups; ++group) {
      const auto begin = static_cast<std::size_t>(row * layout.columns() + layout.before + group * layout.width);
      double squares = 0, product = 0;
      for (std::size_t i = 0; i < width; ++i) squares += x[begin + i] * x[begin + i] / n;
      const double inverse = 1 / std::sqrt(squares + norm.epsilon);
      const auto w = [&](std::size_t i) { return weight[i] + norm.weight_offset; };
      for (std::size_t i = 0; i < width; ++i) product += gradient[begin + i] * w(i) * x[begin + i] * inverse / n;
      for (std::size_t i = 0; i < width; ++i) {
        const double normal = x[begin + i] * inverse;
        result.y[begin + i] = normal * w(i);
        result.dx[begin + i] = inverse * (gradient[begin + i] * w(i) - normal * product);
        result.d_weight[i] += gradient[begin + i] * normal;
      }
    }
  }
  return result;
}

TEST(RmsNorm, FollowsItsFormulas) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Layout& layout : layouts) {
      for (const double offset : {0.0, 1.0}) {
        const RmsNorm norm = random_norm(layout, dtype, offset);
        const Tensor dy = random_tensor(norm.x.shape(), dtype, 5);
        const Tensor d_weight = random_tensor(norm.weight.shape(), norm.weight.dtype(), 6);
        const Reference expected = reference(layout, norm, dy, d_weight);
        const double wide = roundoff(accumulator(dtype));
        rms_norm_forward(ctx, norm);
        expect_close(norm.y, expected.y, roundoff(dtype) + 32 * wide, 8 * wide, "y");
        rms_norm_backward(ctx, norm, {.dy = dy, .dx = dy, .d_weight = d_weight});
        expect_close(dy, expected.dx, roundoff(dtype) + 16 * wide, 32 * wide, "dx");
        expect_close(d_weight, expected.d_weight, 64 * wide, 256 * wide, "d_weight");
      }
    }
  }
}

TEST(RmsNorm, GradientsMatchDifferences) {
  const Context ctx;
  const Layout layout{4, 3, 9, 2, 5};
  const RmsNorm norm = random_norm(layout, DType::f64, 1);
  // Outside of the groups y does not depend on x.
  Tensor dy = random_tensor(norm.x.shape(), DType::f64, 5);
  for (std::int64_t i = 0; i < dy.count(); ++i) {
    const std::int64_t column = i % layout.columns();
    if (column < layout.before || column >= layout.columns() - layout.behind) dy.write<double>()[i] = 0;
  }
  const Tensor dx = dy.clone();
  const Tensor d_weight = Tensor::zeros(norm.weight.shape(), DType::f64);
  rms_norm_forward(ctx, norm);
  rms_norm_backward(ctx, norm, {.dy = dy, .dx = dx, .d_weight = d_weight});
  const auto loss = [&] {
    rms_norm_forward(ctx, norm);
    return dot(norm.y, dy);
  };
  expect_gradient(norm.x, dx, loss);
  expect_gradient(norm.weight, d_weight, loss);
}

TEST(RmsNorm, SameBitsForAnyNumberOfThreadsAndInAnyBatch) {
  for (const DType dtype : floating) {
    for (const Layout& layout : layouts) {
      const RmsNorm norm = random_norm(layout, dtype);
      expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
        const Tensor dx = Tensor::zeros(norm.x.shape(), dtype);
        const Tensor d_weight = Tensor::zeros(norm.weight.shape(), norm.weight.dtype());
        rms_norm_forward(ctx, norm);
        rms_norm_backward(ctx, norm, {.dy = norm.y, .dx = dx, .d_weight = d_weight});
        return {norm.y.clone(), dx, d_weight};
      });
      if (layout.rows == 0) continue;
      RmsNorm last = norm;
      last.x = norm.x.rows(layout.rows - 1, layout.rows).clone();
      last.y = norm.y.rows(layout.rows - 1, layout.rows).clone();
      last.inverse_rms = Tensor::empty({1, layout.groups}, accumulator(dtype));
      rms_norm_forward(Context(), last);
      expect_same_bits(last.y, norm.y.rows(layout.rows - 1, layout.rows));
    }
  }
}

TEST(RmsNorm, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  RmsNorm norm = random_norm({4, 3, 8, 2, 5}, DType::f32);
  norm.begin = 8;
  expect_error("3 groups of 8 from column 8 on do not fit rows of 31", [&] { rms_norm_forward(ctx, norm); });
  norm = random_norm({4, 3, 8, 2, 5}, DType::f32);
  norm.weight = norm.weight.to(DType::f64);
  expect_error("weight", [&] { rms_norm_forward(ctx, norm); });
  norm = random_norm({4, 3, 8, 2, 5}, DType::f32);
  norm.inverse_rms = Tensor::empty({4}, DType::f32);
  expect_error("inverse_rms", [&] { rms_norm_forward(ctx, norm); });
}

}  // namespace
}  // namespace rapt::kernels
