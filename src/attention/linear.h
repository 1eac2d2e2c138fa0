/// The calls of rapt/attention.h for problems with a linear form.
#pragma once

#include "attention/kernels.h"

namespace rapt::attention::linear {

void forward(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
             int threads);
void backward(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const Rows& d_out,
              const Gradients& gradients, int threads);
void weights(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const void* log_sum_exp,
             int sequence, int head, std::span<float> weights, int threads);
/// How the sequences are computed.
std::string explain(const Problem& problem);

}  // namespace rapt::attention::linear
