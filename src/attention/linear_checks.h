/// What is checked of a problem in linear form before any work starts. Every function throws Error.
#pragma once

#include <string_view>

#include "rapt/linear_attention.h"

namespace rapt::attention::linear {

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d);
/// The problem, its form, and q and k.
void check_keys_and_queries(const LinearProblem& problem, const Rows& q, const Rows& k);
void check_states(const LinearProblem& problem, const LinearStates& states);
void check_gradients(const LinearProblem& problem, DType dtype, const LinearGradients& gradients);
/// `places`: room for weights.
void check_weights(const LinearProblem& problem, int sequence, int head, std::size_t places);

}  // namespace rapt::attention::linear
