#include "kernels/cross_entropy.h"

#include <limits>

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

std::vector<std::int32_t> random_targets(const Shape& shape, std::uint64_t seed) {
  RandomSequence random(seed);
  std::vector<std::int32_t> targets(static_cast<std::size_t>(shape[0]));
  for (auto& target : targets) target = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(shape[1])));
  return targets;
}

struct Reference {
  CrossEntropySums sums;
  Values gradient, row_nll;
};

Reference reference(const Tensor& logits, const std::vector<std::int32_t>& targets, double smoothing, double scale) {
  const auto vocab = static_cast<std::size_t>(logits.dim(1));
  const Values x = values_of(logits);
  Reference result;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const double* logit = x.data() + row * vocab;
    const auto target = static_cast<std::size_t>(targets[row]);
    const double maximum = *std::max_element(logit, logit + vocab);
    double sum = 0;
    for (std::size_t c = 0; c < vocab; ++c) sum += std::exp(logit[c] - maximum);
    double loss = 0;
    for (std::size_t c = 0; c < vocab; ++c) {
      const double log_p = logit[c] - maximum - std::log(sum);
      const double wanted = (c == target ? 1 - smoothing : 0) + smoothing / static_cast<double>(vocab);
      loss -= wanted == 0 ? 0 : wanted * log_p;
      result.gradient.push_back(scale * (std::exp(log_p) - wanted));
    }
    const double nll = maximum + std::log(sum) - logit[target];
    result.sums.loss += loss;
    result.sums.negative_log_likelihood += nll;
    result.sums.correct += logit[target] == maximum ? 1 : 0;
    result.row_nll.push_back(nll);
  }
  return result;
}

TEST(CrossEntropy, FollowsItsFormula) {
  const Context ctx;
  std::vector<Shape> wide = shapes;
  wide.push_back({9, 8003});
  for (const DType dtype : floating) {
    for (const Shape& shape : wide) {
      for (const double smoothing : {0.0, 0.1}) {
        for (const double scale : {0.0, 1.0, 0.125}) {
          const Tensor logits = random_tensor(shape, dtype, 1, 3);
          const Tensor before = logits.clone();
          const auto targets = random_targets(shape, 2);
          const Tensor row_nll = Tensor::empty({shape[0]}, DType::f32);
          const Reference expected = reference(logits, targets, smoothing, scale);
          const CrossEntropySums sums = cross_entropy(ctx, logits, targets, smoothing, scale, row_nll);
          const double wide_roundoff = roundoff(accumulator(dtype));
          const double bound = 20 * wide_roundoff * (static_cast<double>(shape[0]) + expected.sums.loss);
          EXPECT_NEAR(sums.loss, expected.sums.loss, bound);
          EXPECT_NEAR(sums.negative_log_likelihood, expected.sums.negative_log_likelihood, bound);
          EXPECT_EQ(sums.correct, expected.sums.correct);
          expect_close(row_nll, expected.row_nll, 0x1p-24, 20 * wide_roundoff);
          if (scale == 0) {
            expect_same_bits(logits, before);
          } else {
            expect_close(logits, expected.gradient, roundoff(dtype) + 64 * wide_roundoff, 4 * wide_roundoff);
          }
        }
      }
    }
  }
}

TEST(CrossEntropy, GradientMatchesDifferences) {
  const Context ctx;
  for (const double smoothing : {0.0, 0.1}) {
    const Shape shape{5, 37};
    const Tensor logits = random_tensor(shape, DType::f64, 3, 2);
    const auto targets = random_targets(shape, 4);
    const Tensor gradient = logits.clone();
    cross_entropy(ctx, gradient, targets, smoothing, 0.7);
    expect_gradient(logits, gradient, [&] { return 0.7 * cross_entropy(ctx, logits, targets, smoothing, 0).loss; });
  }
}

TEST(CrossEntropy, LogitsOfAllSizesStayFinite) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const double offset : {-1e4, 0.0, 1e4}) {
      const Tensor logits = tensor_of({1, 4}, dtype, {offset, offset + 512, offset - 512, offset});
      const std::vector<std::int32_t> targets = {0};
      const Reference expected = reference(logits, targets, 0.1, 1);
      const CrossEntropySums sums = cross_entropy(ctx, logits, targets, 0.1, 1);
      EXPECT_NEAR(sums.loss, expected.sums.loss, 1e-3);
      expect_close(logits, expected.gradient, roundoff(dtype), 1e-6);
    }
  }
}

TEST(CrossEntropy, ExcludedEntriesHaveNoGradient) {
  const Context ctx;
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : floating) {
    const Tensor logits = tensor_of({1, 3}, dtype, {0, -inf, 0});
    const std::vector<std::int32_t> targets = {0};
    EXPECT_NEAR(cross_entropy(ctx, logits, targets, 0, 1).loss, std::log(2.0), 1e-6);
    EXPECT_EQ(values_of(logits), (Values{-0.5, 0, 0.5}));
  }
}

TEST(CrossEntropy, NaNIsSeenInTheLoss) {
  const Context ctx;
  for (const DType dtype : floating) {
    Values values(40, 0.5);
    values[33] = std::numeric_limits<double>::quiet_NaN();
    const CrossEntropySums sums =
        cross_entropy(ctx, tensor_of({1, 40}, dtype, values), std::vector<std::int32_t>{3}, 0, 1);
    EXPECT_TRUE(std::isnan(sums.loss));
  }
}

TEST(CrossEntropy, SameBitsForAnyNumberOfThreads) {
  const Shape shape{300, 513};
  const auto targets = random_targets(shape, 5);
  for (const DType dtype : floating) {
    expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
      const Tensor logits = random_tensor(shape, dtype, 6);
      const CrossEntropySums sums = cross_entropy(ctx, logits, targets, 0.1, 0.01);
      return {logits, constant_tensor({1}, DType::f64, sums.loss),
              constant_tensor({1}, DType::f64, sums.negative_log_likelihood)};
    });
  }
}

TEST(CrossEntropy, OperandsThatDoNotMatchAreErrors) {
  const Context ctx;
  const Tensor logits = Tensor::zeros({2, 5}, DType::f32);
  const std::vector<std::int32_t> good = {0, 1};
  expect_error("cross_entropy: 1 targets for 2 rows",
               [&] { cross_entropy(ctx, logits, std::vector<std::int32_t>{0}, 0, 1); });
  for (const std::int32_t bad : {-1, 5}) {
    expect_error("targets[1] is " + std::to_string(bad) + ", expected one of a vocabulary of 5", [&] {
      cross_entropy(ctx, logits, std::vector<std::int32_t>{0, bad}, 0, 1);
    });
  }
  expect_error("smoothing is 1.5", [&] { cross_entropy(ctx, logits, good, 1.5, 1); });
  expect_error("row_nll is [3] f32", [&] { cross_entropy(ctx, logits, good, 0, 1, Tensor::zeros({3}, DType::f32)); });
  expect_error("logits are [10]", [&] { cross_entropy(ctx, logits.reshape({10}), good, 0, 1); });
}

}  // namespace
}  // namespace rapt::kernels
