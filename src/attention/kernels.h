/// The operator of attention.h on an instruction set of one's choice: what tests compare the variants with.
#pragma once

#include "attention/attention.h"
#include "attention/kernel.h"
#include "kernels/dispatch.h"

namespace rapt::attention {

/// The inner loops compiled for one instruction set.
struct Kernels {
  Kernel* forward;
  Kernel* backward;
  Kernel* weights;
};

/// The processor must have the instruction set.
const Kernels& kernels_for(kernels::Isa isa);

void forward(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out,
             void* log_sum_exp);
void backward(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out,
              const void* log_sum_exp, Rows d_out, Rows dq, Rows dk, Rows dv);
void weights(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k,
             const void* log_sum_exp, int sequence, int head, std::span<float> weights);

}  // namespace rapt::attention
