/// What is checked before any work starts. Each throws Error with one line.
#pragma once

#include <cstddef>
#include <string_view>

#include "rapt/attention.h"

namespace rapt::attention {

void check_problem(const Problem& problem);
void check_forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs);
void check_backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
                    const Gradients& gradients);
void check_weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp, int sequence, int head,
                   std::size_t places);
void check_merge(const Merge& sizes, std::span<const Outputs> parts, const Outputs& result);

/// That a token's heads do not run into the next one's.
void check_stride(std::string_view name, const Rows& rows, int heads, int d);

}  // namespace rapt::attention
