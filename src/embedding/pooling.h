/// From a vector for each token to one for each sequence.
#pragma once

#include <span>

#include "core/context.h"
#include "core/ragged.h"

namespace rapt::embedding {

/// What is made of the tokens' vectors h_1 ... h_n (sentence-transformers, Pooling).
enum class Pooling {
  cls,               ///< h_1
  max,               ///< the largest of each component
  mean,              ///< sum h_i / n
  mean_sqrt_length,  ///< sum h_i / sqrt(n)
  weighted_mean,     ///< sum i h_i / sum i (Muennighoff, "SGPT", 2022)
  last,              ///< h_n
};

/// hidden: [tokens, width], f32 or bf16 -> [sequences, poolings * width], f32: one pooling beside the other. What a
/// sequence gives depends on its own tokens alone. Throws Error for a sequence without tokens.
Tensor pool(Context& ctx, const Tensor& hidden, const Sequences& sequences, std::span<const Pooling> poolings);

/// Gives each row the Euclidean length 1; a shorter one than 1e-12 is divided by that. rows: [count, width], f32.
void normalize_rows(const Tensor& rows);

}  // namespace rapt::embedding
