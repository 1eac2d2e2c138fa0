#include "model/positions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rapt {
namespace {

constexpr double two_pi = 2 * std::numbers::pi;

/// Llama 3.1: wavelengths up to original / high are kept, those beyond original / low are stretched by the factor.
double llama3_frequency(double frequency, const RotaryScaling& scaling) {
  const double turns = static_cast<double>(scaling.original_positions) * frequency / two_pi;
  const double kept =
      (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
  const double share = std::clamp(kept, 0.0, 1.0);
  return share * frequency + (1 - share) * frequency / scaling.factor;
}

/// YaRN, 3.2: the dimension whose pair makes `turns` turns within the original context.
double dimension_of(double turns, double width, const ModelConfig& config) {
  const auto positions = static_cast<double>(config.rotary_scaling.original_positions);
  return width * std::log(positions / (turns * two_pi)) / (2 * std::log(config.rotary_base));
}

void apply_yarn(const ModelConfig& config, std::vector<double>& frequencies) {
  const RotaryScaling& scaling = config.rotary_scaling;
  const auto width = static_cast<double>(2 * frequencies.size());
  double low = dimension_of(scaling.beta_fast, width, config);
  double high = dimension_of(scaling.beta_slow, width, config);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] *= stretched / scaling.factor + 1 - stretched;
  }
}

}  // namespace

Tensor sinusoidal_positions(std::int64_t positions, std::int64_t width, DType dtype, bool fairseq) {
  Tensor table = Tensor::empty({positions, width}, DType::f64);
  auto* row = table.write<double>();
  const auto steps = static_cast<double>(fairseq ? width / 2 - 1 : width / 2);
  for (std::int64_t p = 0; p < positions; ++p, row += width) {
    for (std::int64_t i = 0; i < width / 2; ++i) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, static_cast<double>(i) / steps);
      row[i] = std::sin(angle);
      row[width / 2 + i] = std::cos(angle);
    }
  }
  return table.to(dtype);
}

std::vector<double> rotary_frequencies(const ModelConfig& config) {
  const auto d_head = static_cast<double>(config.d_head_of(config.decoder_heads));
  const int pairs = static_cast<int>(config.rotary_fraction * d_head) / 2;
  std::vector<double> frequencies;
  for (int i = 0; i < pairs; ++i) frequencies.push_back(std::pow(config.rotary_base, -static_cast<double>(i) / pairs));
  const RotaryScaling& scaling = config.rotary_scaling;
  switch (scaling.kind) {
    case RotaryScaling::Kind::none:
      break;
    case RotaryScaling::Kind::linear:
      for (double& frequency : frequencies) frequency /= scaling.factor;
      break;
    case RotaryScaling::Kind::llama3:
      for (double& frequency : frequencies) frequency = llama3_frequency(frequency, scaling);
      break;
    case RotaryScaling::Kind::yarn:
      apply_yarn(config, frequencies);
      break;
  }
  return frequencies;
}

}  // namespace rapt
