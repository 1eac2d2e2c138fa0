/// What is checked of a problem with a linear form besides what all problems must fulfil. Every function throws Error.
#pragma once

#include "rapt/linear_form.h"

namespace rapt::attention::linear {

/// The form, and that nothing of softmax is asked for.
void check_form(const Problem& problem);
/// What the form points to, of the type that `dtype` is computed with.
void check_operands(const Problem& problem, DType dtype);
/// States, log_sum_exp and statistics.
void check_outputs(const Problem& problem, const Inputs& inputs, const Outputs& outputs);
void check_gradients(const Problem& problem, const Inputs& inputs, const Gradients& gradients);
void check_weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp);

}  // namespace rapt::attention::linear
