/// Dropout whose mask is a function of a key.
#pragma once

#include <cstdint>

namespace rapt {

/// Names one stream of random numbers.
struct RandomKey {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  bool operator==(const RandomKey&) const = default;
};

/// Dropout (Srivastava et al. 2014) whose mask is a function of the key, so that backward draws it again. An element is
/// kept iff its 16-bit random number >= threshold(); kept elements are divided by the exact kept fraction.
struct Dropout {
  float probability = 0;  ///< in [0, 1)
  RandomKey key = {};

  bool active() const { return probability > 0; }
  constexpr std::uint32_t threshold() const { return static_cast<std::uint32_t>(probability * 65536.0f + 0.5f); }
  constexpr double kept() const { return 1.0 - static_cast<double>(threshold()) / 65536.0; }
};

}  // namespace rapt
