/// Sinusoidal positions.
#pragma once

#include "core/tensor.h"

namespace rapt {

/// Table [positions, width] ("Attention Is All You Need", 3.5): row p holds sin(p / 10000^(2i/width)) for i < width/2,
/// then the cosines. The paper interleaves the two; MarianMT checkpoints of Hugging Face, whose convention this is, put
/// them in halves, which is the same up to the order of dimensions.
Tensor sinusoidal_positions(std::int64_t positions, std::int64_t width, DType dtype);

}  // namespace rapt
