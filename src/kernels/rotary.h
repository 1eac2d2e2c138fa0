/// Rotary position embedding (Su et al. 2021, RoFormer), in the "rotate half" convention of Hugging Face.
#pragma once

#include <span>
#include <vector>

#include "core/context.h"

namespace rapt::kernels {

/// What turns pairs of elements at any position, computed once: a model has one for all its layers. Turns are composed
/// rather than computed: of all cosines and sines only those of position 1 are taken from the library. The error grows
/// with the position like that of rounding its angles in f64.
class RotaryTurns {
 public:
  /// `frequencies`: radians a position, of each pair.
  explicit RotaryTurns(std::span<const double> frequencies);

  int pairs() const { return pairs_; }
  /// As RotaryBlock::turns has them, for all positions that an int32 holds.
  const double* data() const { return turns_.data(); }

 private:
  int pairs_;
  std::vector<double> turns_;
};

/// Rotates in place the first elements of every head of x (rows of `stride` elements, `heads` heads of d_head each,
/// f32, bf16 or f64): with n pairs (x[i], x[i + n]) turns by positions[t] * frequencies[i] radians and is multiplied by
/// `scale`. inverse turns the other way, which is the gradient.
struct Rotary {
  DType dtype = DType::f32;
  void* data = nullptr;
  std::int64_t stride = 0;
  int heads = 1;
  int d_head = 0;
  const RotaryTurns* turns = nullptr;
  double scale = 1;
  bool inverse = false;
  std::span<const std::int32_t> positions;  ///< one for each row
};
void rotate(const Context& ctx, const Rotary& rotary);

}  // namespace rapt::kernels
