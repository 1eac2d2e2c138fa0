#include "kernels/dropout_mask.h"

#include "core/random.h"

namespace rapt::kernels {

DropoutMask mask_of(const Dropout& dropout) {
  if (!dropout.active()) return {};
  return {.active = true,
          .key_low = dropout.key.low,
          .key_high = dropout.key.high,
          .threshold = dropout.threshold(),
          .scale = 1 / dropout.kept()};
}

}  // namespace rapt::kernels
