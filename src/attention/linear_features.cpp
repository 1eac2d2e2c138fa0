#include "attention/linear_features.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace rapt::attention {
namespace {

constexpr int most_features = 1 << 16;
constexpr int most_width = 1024;

std::int64_t padded(std::int64_t n) {
  return (n + 15) / 16 * 16;
}

double length_of(std::span<const double> x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

std::vector<double> normal_vector(RandomSequence& random, int d) {
  std::vector<double> result(static_cast<std::size_t>(d));
  for (double& x : result) x = random.normal();
  return result;
}

/// Takes from x what lies in the direction of `unit`.
void remove_component(std::span<const double> unit, std::vector<double>& x) {
  const double product = std::inner_product(x.begin(), x.end(), unit.begin(), 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] -= product * unit[i];
}

/// `count` <= d orthonormal vectors of random direction, by Gram and Schmidt's method done twice.
std::vector<std::vector<double>> orthonormal(RandomSequence& random, int count, int d) {
  std::vector<std::vector<double>> units;
  for (int n = 0; n < count; ++n) {
    std::vector<double> x = normal_vector(random, d);
    for (int pass = 0; pass < 2; ++pass) {
      for (const std::vector<double>& unit : units) remove_component(unit, x);
      const double length = length_of(x);
      for (double& value : x) value /= length;
    }
    units.push_back(std::move(x));
  }
  return units;
}

}  // namespace

RandomFeatures::RandomFeatures(int count, int d_key, std::uint64_t seed) {
  require(count >= 1 && count <= most_features, "random features: their number {} must lie in 1..{}", count,
          most_features);
  require(d_key >= 1 && d_key <= most_width, "random features: the head width {} must lie in 1..{}", d_key, most_width);
  auto result = std::make_shared<Directions>();
  result->count = count;
  result->d_key = d_key;
  result->stride = padded(d_key);
  result->stride_t = padded(count);
  result->f64.resize(static_cast<std::size_t>(count * result->stride));
  result->f64_t.resize(static_cast<std::size_t>(d_key * result->stride_t));
  RandomSequence random(seed, 0x6661766f72);
  for (std::int64_t first = 0; first < count; first += d_key) {
    const auto units = orthonormal(random, static_cast<int>(std::min<std::int64_t>(d_key, count - first)), d_key);
    for (std::size_t n = 0; n < units.size(); ++n) {
      const double length = length_of(normal_vector(random, d_key));
      const std::int64_t row = first + static_cast<std::int64_t>(n);
      for (std::int64_t i = 0; i < d_key; ++i) {
        const double x = length * units[n][static_cast<std::size_t>(i)];
        result->f64[static_cast<std::size_t>(row * result->stride + i)] = x;
        result->f64_t[static_cast<std::size_t>(i * result->stride_t + row)] = x;
      }
    }
  }
  result->f32.assign(result->f64.begin(), result->f64.end());
  result->f32_t.assign(result->f64_t.begin(), result->f64_t.end());
  directions_ = std::move(result);
}

int RandomFeatures::count() const {
  return directions_ == nullptr ? 0 : directions_->count;
}
int RandomFeatures::d_key() const {
  return directions_ == nullptr ? 0 : directions_->d_key;
}

}  // namespace rapt::attention
