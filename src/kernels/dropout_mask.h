/// Dropout as the inner loops take it.
#pragma once

#include <stdint.h>

namespace rapt {
struct Dropout;  // core/random.h
}

namespace rapt::kernels {

/// The mask of dropout over elements numbered by i. It is the same for every instruction set: with g = i / 128 and
/// j = i % 128, Philox 4x32-10 of the key and the counter {low word, high word of 16 g + j % 16, 0, 0} gives four
/// words; their eight halves, lower half first, belong to j / 16 = 0 .. 7. The element is kept iff its half is >=
/// threshold, and then multiplied by scale.
struct DropoutMask {
  bool active = false;
  uint32_t key_low = 0;
  uint32_t key_high = 0;
  uint32_t threshold = 0;
  double scale = 1;  ///< 1 / kept fraction
};

DropoutMask mask_of(const Dropout& dropout);

}  // namespace rapt::kernels
