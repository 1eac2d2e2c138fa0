/// Softmax, label smoothing (Szegedy et al. 2016; "Attention Is All You Need" 5.4) and cross-entropy in one pass over
/// the logits.
#pragma once

#include <span>

#include "core/context.h"

namespace rapt::kernels {

/// Sums over the rows of a batch, in an order that does not depend on the threads.
struct CrossEntropySums {
  double loss = 0;  ///< (1 - smoothing) * -log p(target) + smoothing * mean over the vocabulary of -log p
  double negative_log_likelihood = 0;  ///< -log p(target), without smoothing
  std::int64_t correct = 0;            ///< rows whose largest logit is the target's
};

/// logits: [rows, vocab] f32, bf16 or f64; targets: [rows], each in [0, vocab) (otherwise Error).
/// When gradient_scale != 0 the logits are overwritten by gradient_scale * d loss / d logits, so no second copy exists.
/// row_nll (f32, may be undefined): [rows] receives -log p(target) of each row.
CrossEntropySums cross_entropy(const Context& ctx, const Tensor& logits, std::span<const std::int32_t> targets,
                               double smoothing, double gradient_scale, const Tensor& row_nll = {});

}  // namespace rapt::kernels
