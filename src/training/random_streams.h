/// The streams of random numbers that a run draws from its one seed, kept apart by use.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/random.h"

namespace rapt::training {

enum class RandomUse : std::uint64_t { pair_order = 1, windows = 2, pieces = 3, masks = 4 };

/// The sequence for one use and one epoch or batch of it; uses and numbers never share a stream.
inline RandomSequence random_stream(std::uint64_t seed, RandomUse use, std::int64_t number) {
  return RandomSequence(seed, (static_cast<std::uint64_t>(use) << 56) | static_cast<std::uint64_t>(number));
}

template <typename T>
void shuffle(std::vector<T>& items, RandomSequence& random) {
  for (std::size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[random.below(left)]);
}

}  // namespace rapt::training
