/// Element by element: sums, dropout, activations.
#pragma once

#include "core/context.h"
#include "kernels/activation.h"

namespace rapt::kernels {

/// z = x + dropout(s); x may be undefined (z = dropout(s)). All of one shape and type (f32, bf16, f64); the element
/// index of the mask is the flat index. z may be x or s.
void add_dropout(const Context& ctx, const Tensor& x, const Tensor& s, const Dropout& dropout, const Tensor& z);

/// sum += addend, of one shape and type.
void accumulate(const Context& ctx, const Tensor& sum, const Tensor& addend);

/// y *= factor.
void scale(const Context& ctx, const Tensor& y, double factor);

void fill_zero(const Context& ctx, const Tensor& y);

/// y = dropout(activation(x)); y may be x.
void activation_forward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                        const Tensor& y);
/// dx = dropout(dy) * activation'(x), from the input x of the forward; dx may be dy. For relu, x may as well be the
/// output before dropout.
void activation_backward(const Context& ctx, Activation activation, const Tensor& x, const Dropout& dropout,
                         const Tensor& dy, const Tensor& dx);

/// y = cap * tanh(x / cap): scores that keep within a bound (Gemma 2). y may be x.
void soft_cap_forward(const Context& ctx, double cap, const Tensor& x, const Tensor& y);
/// dx = dy * (1 - tanh(x / cap)^2), from the input of the forward; dx may be dy.
void soft_cap_backward(const Context& ctx, double cap, const Tensor& x, const Tensor& dy, const Tensor& dx);

/// sums[column] += sum over rows of x[row, column]; x: [rows, width] f32, bf16 or f64; sums: [width] f32 (f64 when x is
/// f64). The order of summation depends on the shape alone, not on the threads.
void add_column_sums(const Context& ctx, const Tensor& x, const Tensor& sums);

/// Sum of squares of all elements (f32 or f64), accumulated in f64 in an order that does not depend on the threads. Not
/// finite iff an element is not finite or the sum overflows.
double sum_of_squares(const Context& ctx, const Tensor& x);

}  // namespace rapt::kernels
