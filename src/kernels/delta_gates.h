/// The two numbers a token that the gated delta rule learns for each key-value head.
#pragma once

#include "core/context.h"

namespace rapt::kernels {

/// How much of the state stays and how much of a key's value is written (Yang et al., "Gated Delta Networks", 2024,
/// with the decay of Dao, Gu, "Transformers are SSMs", 2024). With z = [a b] and gates = [alpha beta]: [rows, 2 *
/// heads],
///   alpha = exp(-exp(a_log) softplus(a + dt_bias)),  beta = sigmoid(b).
/// z is of type T (f32, bf16, f64); a_log, dt_bias: [heads] and gates are f32 (f64 when T is f64).
struct DeltaGates {
  Tensor z;
  Tensor a_log;
  Tensor dt_bias;
  Tensor gates;
};
void delta_gates_forward(const Context& ctx, const DeltaGates& gates);

/// Gradients of the above, from its operands (gates is not read).
struct DeltaGatesGradient {
  Tensor d_gates;    ///< of the type of gates
  Tensor dz;         ///< of type T
  Tensor d_a_log;    ///< f32 (f64), added to
  Tensor d_dt_bias;  ///< f32 (f64), added to
};
void delta_gates_backward(const Context& ctx, const DeltaGates& gates, const DeltaGatesGradient& gradient);

}  // namespace rapt::kernels
