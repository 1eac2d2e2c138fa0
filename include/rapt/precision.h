/// What to compute in.
#pragma once

namespace rapt {

/// Type of activations and of the weights that products use. Sums are always accumulated in float32.
enum class Precision {
  f32,
  bf16,  ///< in training, master weights, moments and gradients of weights stay f32
};

}  // namespace rapt
