#include "kernels/rotary.h"

#include <map>

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

struct Layout {
  int heads, d_head, rotary;
  std::int64_t gap;  ///< elements of a row behind its heads
};
const std::vector<Layout> layouts = {{1, 2, 2, 0}, {3, 8, 4, 5}, {2, 64, 64, 0}, {1, 300, 290, 3}, {4, 34, 34, 1}};
const std::vector<std::int32_t> positions = {0, 1, 15, 16, 17, 255, 256, 300, 4095, 4097, 100000};

Tensor random_rows(const Layout& layout, std::size_t rows, DType dtype) {
  return random_tensor({static_cast<std::int64_t>(rows), layout.heads * layout.d_head + layout.gap}, dtype, 1);
}

/// Of frequencies 10000^(-2i / rotary), kept for as long as the program runs.
const RotaryTurns* turns_of(int rotary) {
  static std::map<int, RotaryTurns> made;
  const auto found = made.find(rotary);
  if (found != made.end()) return &found->second;
  Values frequencies;
  for (int i = 0; i < rotary / 2; ++i) frequencies.push_back(std::pow(10000.0, -2.0 * i / rotary));
  return &made.emplace(rotary, RotaryTurns(frequencies)).first->second;
}

Rotary rotary_of(const Layout& layout, const Tensor& x, std::span<const std::int32_t> at, bool inverse = false) {
  return {.dtype = x.dtype(),
          .data = x.raw_write(),
          .stride = x.dim(1),
          .heads = layout.heads,
          .d_head = layout.d_head,
          .turns = turns_of(layout.rotary),
          .inverse = inverse,
          .positions = at};
}

Values reference(const Layout& layout, const Tensor& x, std::span<const std::int32_t> at) {
  Values values = values_of(x);
  const auto stride = static_cast<std::size_t>(x.dim(1));
  const auto half = static_cast<std::size_t>(layout.rotary / 2);
  for (std::size_t row = 0; row < at.size(); ++row) {
    for (std::size_t head = 0; head < static_cast<std::size_t>(layout.heads); ++head) {
      double* v = values.data() + row * stride + head * static_cast<std::size_t>(layout.d_head);
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = at[row] * std::pow(10000.0, -2.0 * static_cast<double>(i) / layout.rotary);
        const double a = v[i];
        const double b = v[half + i];
        v[i] = a * std::cos(angle) - b * std::sin(angle);
        v[half + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
  return values;
}

TEST(Rotary, TurnsPairsByTheirAngles) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Layout& layout : layouts) {
      const Tensor x = random_rows(layout, positions.size(), dtype);
      const Values expected = reference(layout, x, positions);
      rotate(ctx, rotary_of(layout, x, positions));
      const double angles = dtype == DType::f64 ? 1e-10 : 0;  // 100,000 radians hold eleven digits behind the point
      expect_close(x, expected, roundoff(dtype), 16 * roundoff(accumulator(dtype)) + angles);
    }
  }
}

TEST(Rotary, InverseTurnsBack) {
  const Context ctx;
  for (const DType dtype : floating) {
    for (const Layout& layout : layouts) {
      const Tensor x = random_rows(layout, positions.size(), dtype);
      const Values before = values_of(x);
      rotate(ctx, rotary_of(layout, x, positions));
      rotate(ctx, rotary_of(layout, x, positions, true));
      expect_close(x, before, 2 * roundoff(dtype), 8 * roundoff(dtype) + (dtype == DType::f64 ? 1e-10 : 0));
    }
  }
}

TEST(Rotary, InverseIsTheGradient) {
  const Context ctx;
  const Layout layout{3, 8, 4, 5};
  const Tensor x = random_rows(layout, positions.size(), DType::f64);
  const Tensor dy = random_tensor(x.shape(), DType::f64, 2);
  const Tensor dx = dy.clone();
  rotate(ctx, rotary_of(layout, dx, positions, true));
  expect_gradient(x, dx, [&] {
    const Tensor y = x.clone();
    rotate(ctx, rotary_of(layout, y, positions));
    return dot(y, dy);
  });
}

TEST(Rotary, ScaleMultipliesWhatIsTurnedInBothDirections) {
  const Context ctx;
  const Layout layout{3, 8, 4, 5};
  const Tensor x = random_rows(layout, positions.size(), DType::f64);
  for (const bool inverse : {false, true}) {
    const Tensor plain = x.clone();
    const Tensor scaled = x.clone();
    rotate(ctx, rotary_of(layout, plain, positions, inverse));
    Rotary rotary = rotary_of(layout, scaled, positions, inverse);
    rotary.scale = 1.5;
    rotate(ctx, rotary);
    Values expected = values_of(plain);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t column = i % static_cast<std::size_t>(x.dim(1));
      if (column < 24 && column % 8 < 4) expected[i] *= 1.5;
    }
    expect_close(scaled, expected, 1e-14, 1e-14);
  }
}

TEST(Rotary, ARowDoesNotDependOnItsBatch) {
  const Context ctx;
  const Layout layout{2, 64, 64, 0};
  for (const DType dtype : floating) {
    const Tensor x = random_rows(layout, positions.size(), dtype);
    const Tensor alone = x.rows(7, 8).clone();
    rotate(ctx, rotary_of(layout, x, positions));
    rotate(ctx, rotary_of(layout, alone, std::span(positions).subspan(7, 1)));
    expect_same_bits(alone, x.rows(7, 8));
  }
}

TEST(Rotary, SameBitsForAnyNumberOfThreads) {
  const Layout layout{4, 34, 34, 1};
  std::vector<std::int32_t> many(2000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int32_t>(i % 37);
  for (const DType dtype : floating) {
    expect_same_for_all_threads([&](const Context& ctx) -> std::vector<Tensor> {
      const Tensor x = random_rows(layout, many.size(), dtype);
      rotate(ctx, rotary_of(layout, x, many));
      return {x};
    });
  }
}

TEST(Rotary, NoRowsAreNoWork) {
  const Context ctx;
  rotate(ctx, {.stride = 8, .d_head = 8, .turns = turns_of(8), .positions = {}});
}

TEST(Rotary, WrongLayoutsAreErrors) {
  const Context ctx;
  const Layout layout{2, 8, 8, 0};
  const Tensor x = random_rows(layout, 2, DType::f32);
  const std::vector<std::int32_t> good = {0, 1};
  const std::vector<std::int32_t> bad = {0, -1};
  Rotary rotary = rotary_of(layout, x, good);
  rotary.turns = nullptr;
  expect_error("0 frequencies, expected 1 to half of d_head = 8", [&] { rotate(ctx, rotary); });
  rotary.turns = turns_of(10);
  expect_error("5 frequencies", [&] { rotate(ctx, rotary); });
  rotary = rotary_of(layout, x, good);
  rotary.heads = 3;
  expect_error("rows of 16 elements hold no 3 heads of 8", [&] { rotate(ctx, rotary); });
  rotary = rotary_of(layout, x, good);
  rotary.dtype = DType::f16;
  expect_error("data holds f16", [&] { rotate(ctx, rotary); });
  expect_error("positions[1] is negative", [&] { rotate(ctx, rotary_of(layout, x, bad)); });
}

}  // namespace
}  // namespace rapt::kernels
