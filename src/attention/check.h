/// What is checked before any work starts. Each throws Error with one line.
#pragma once

#include <cstddef>
#include <span>
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

// What the linear forms ask too; messages begin with the name of the caller's operation.
void check_heads(std::string_view caller, int heads, int kv_heads, int d_key, int d_value);
void check_bounds(std::string_view caller, std::span<const Span> sequences);
/// No row of queries or keys belongs to two sequences.
void check_nothing_shared(std::string_view caller, std::span<const Span> sequences);
/// There is such a sequence and head, and `places` is how many weights it has.
void check_places(std::string_view caller, std::span<const Span> sequences, int heads, int sequence, int head,
                  std::size_t places);

}  // namespace rapt::attention
