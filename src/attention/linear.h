/// The linear forms of rapt/linear_attention.h on an instruction set of one's choice: what tests compare the variants
/// with.
#pragma once

#include "attention/linear_kernel.h"
#include "kernels/dispatch.h"
#include "rapt/linear_attention.h"

namespace rapt::attention::linear {

/// The processor must have the instruction set.
const Kernels& kernels_for(kernels::Isa isa);

void forward(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, const Rows& out,
             const LinearStates& states, int threads);
void backward(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, const Rows& d_out,
              const LinearGradients& gradients, int threads);
void weights(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, int sequence, int head,
             std::span<float> weights, int threads);

}  // namespace rapt::attention::linear
