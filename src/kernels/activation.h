/// The activations of feed-forward layers.
#pragma once

namespace rapt::kernels {

/// gelu: exact, with erf; gelu_tanh: the tanh approximation ("gelu_new"; Hendrycks, Gimpel 2016); silu: x * sigmoid(x)
/// ("swish");
/// tanh: of poolers.
enum class Activation { relu, gelu, gelu_tanh, silu, tanh };

}  // namespace rapt::kernels
