/// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC
/// 2011). A number is a function of (key, counter), so nothing has to be stored to draw it again, whatever the thread.
#pragma once

#include <array>
#include <cstdint>

#include "rapt/dropout.h"

namespace rapt {

/// Four random words for `counter` in the stream `key`.
constexpr std::array<std::uint32_t, 4> philox(RandomKey key, std::array<std::uint32_t, 4> counter) {
  std::uint32_t k0 = key.low;
  std::uint32_t k1 = key.high;
  auto& c = counter;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c[0];
    const std::uint64_t p1 = 0xCD9E8D57ull * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// The state of random numbers in a Context: a seed, the training step, and a count of the streams drawn in this step.
/// (seed, step) restores it exactly.
class Random {
 public:
  explicit Random(std::uint64_t seed = 1) : seed_(seed) {}

  /// Starts a step; the same (seed, step) draws the same streams.
  void start_step(std::uint64_t step) {
    step_ = step;
    drawn_ = 0;
  }
  /// The next stream of this step.
  RandomKey next() {
    const auto words =
        philox({static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)},
               {static_cast<std::uint32_t>(step_), static_cast<std::uint32_t>(step_ >> 32), drawn_++, 0x72617074u});
    return {words[0], words[1]};
  }
  std::uint64_t seed() const { return seed_; }
  std::uint64_t step() const { return step_; }

 private:
  std::uint64_t seed_;
  std::uint64_t step_ = 0;
  std::uint32_t drawn_ = 0;
};

/// A plain sequence of random numbers from one seed, for shuffling, initialisation and sampling; the same on every
/// platform, unlike the distributions of the standard library.
class RandomSequence {
 public:
  explicit RandomSequence(std::uint64_t seed, std::uint64_t stream = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}, stream_(stream) {}

  std::uint32_t next() {
    if (used_ == 4) {
      words_ = philox(key_, {static_cast<std::uint32_t>(counter_), static_cast<std::uint32_t>(counter_ >> 32),
                             static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)});
      ++counter_;
      used_ = 0;
    }
    return words_[static_cast<std::size_t>(used_++)];
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform() {
    const std::uint64_t high = next();
    return static_cast<double>((high << 21) ^ (next() >> 11)) * 0x1p-53;
  }
  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>(uniform() * static_cast<double>(bound));
  }
  /// Standard normal (Box-Muller, one value a call).
  double normal();

 private:
  RandomKey key_;
  std::uint64_t stream_;
  std::uint64_t counter_ = 0;
  std::array<std::uint32_t, 4> words_{};
  int used_ = 4;
};

}  // namespace rapt
