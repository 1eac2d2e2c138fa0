/// Sinusoidal and rotary positions.
#pragma once

#include <vector>

#include "core/tensor.h"
#include "model/config.h"

namespace rapt {

/// Table [positions, width] ("Attention Is All You Need", 3.5): row p holds sin(p / 10000^(2i/width)) for i < width/2,
/// then the cosines. The paper interleaves the two; MarianMT checkpoints of Hugging Face, whose convention this is, put
/// them in halves, which is the same up to the order of dimensions.
/// With `fairseq` the timescale is 10000^(i / (width/2 - 1)), as in tensor2tensor and fairseq.
Tensor sinusoidal_positions(std::int64_t positions, std::int64_t width, DType dtype, bool fairseq = false);

/// Radians that each pair of dimensions of a head turns from one position to the next (Su et al. 2021), for a model
/// with rotary positions: base^(-2i / rotary), changed as config.rotary_scaling says.
std::vector<double> rotary_frequencies(const ModelConfig& config);

}  // namespace rapt
