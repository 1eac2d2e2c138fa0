/// Arena: recycles the memory of a step's tensors.
#pragma once

#include <memory>

#include "core/tensor.h"

namespace rapt {

/// Hands out tensors whose memory returns to the arena when the last handle dies, so that a training step or a decoding
/// step allocates nothing from the system once the first few have run. Not thread-safe: one arena belongs to one
/// Context. Tensors may outlive the arena.
class Arena {
 public:
  static constexpr std::int64_t row_multiple = 64;

  Arena();
  /// Not initialised, 64-byte aligned. Matrices get spare room (Tensor::spare) for `row_multiple` - 1 more rows.
  Tensor allocate(Shape shape, DType dtype);
  /// Bytes taken from the system so far.
  std::size_t reserved() const;

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;
};

}  // namespace rapt
