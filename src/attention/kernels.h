/// The operator of rapt/attention.h on an instruction set of one's choice: what tests compare the variants with.
#pragma once

#include "attention/kernel.h"
#include "attention/linear_kernel.h"
#include "kernels/dispatch.h"
#include "rapt/attention.h"

namespace rapt::attention {

/// The inner loops compiled for one instruction set.
struct Kernels {
  Kernel *forward, *decode, *merge, *delta, *backward, *add_shares;
  WeightKernels of_weights;
  int group_rows;  ///< attention rows of a tile in f32; half as many in f64
  const linear::Kernels& linear;
};

/// The processor must have the instruction set.
const Kernels& kernels_for(kernels::Isa isa);

void forward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs, int threads);
void backward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
              const Rows& d_out, const Gradients& gradients, int threads);
void weights(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const void* log_sum_exp,
             int sequence, int head, std::span<float> weights, int threads);

}  // namespace rapt::attention
