/// What a kernel's .cpp hands to its inner loops in the .isa.cpp: a block of its work as plain data. No functions here:
/// this header is compiled for every instruction set.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "kernels/activation.h"
#include "kernels/dropout_mask.h"

namespace rapt::kernels {

/// A run of consecutive elements. Operands that a kernel does not have are null; `result` may be an operand.
struct ElementsBlock {
  DType dtype = DType::f32;
  const void* x = nullptr;
  const void* y = nullptr;
  void* result = nullptr;
  int64_t begin = 0;  ///< flat index of the first element, for the mask
  int64_t count = 0;
  DropoutMask mask;
};

}  // namespace rapt::kernels
