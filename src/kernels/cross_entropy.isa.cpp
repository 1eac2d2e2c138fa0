#include "kernels/blocks.h"
#include "kernels/functions.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

template <typename Scalar>
struct RowScan {
  Scalar maximum;
  Scalar total;  ///< sum of the logits
};

template <typename T, typename Scalar = typename Simd<T>::Scalar>
RowScan<Scalar> scan(const T* logits, int64_t vocab) {
  using V = typename Simd<T>::Vector;
  const V lowest = broadcast(-static_cast<Scalar>(__builtin_inf()));
  V maxima[slots] = {lowest, lowest, lowest, lowest};
  V totals[slots] = {};
  reduce_vectors<T>(vocab, [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA {
    const V x = load(logits + i, part);
    maxima[slot.index] = max(maxima[slot.index], keep_part(x, part, lowest));
    totals[slot.index] += x;
  });
  const V largest = max(max(maxima[0], maxima[1]), max(maxima[2], maxima[3]));
  return {kernels::maximum(largest), sum(combine(totals))};
}

/// sum over the row of 2^(logit * log2(e) - shift); the terms are kept in `exponentials` unless that is null.
template <typename T, typename Scalar = typename Simd<T>::Scalar>
Scalar sum_exponentials(const T* logits, int64_t vocab, Scalar shift, Scalar* exponentials) {
  using V = typename Simd<T>::Vector;
  V sums[slots] = {};
  reduce_vectors<T>(vocab, [&](int64_t i, auto slot, auto part) RAPT_INLINE_LAMBDA {
    const V e = exp2_nonpositive(load(logits + i, part) * static_cast<Scalar>(log2_e) - shift);
    if (exponentials != nullptr) store(e, exponentials + i, part);
    sums[slot.index] += keep_part(e, part, V{});
  });
  return sum(combine(sums));
}

/// Overwrites the logits of a row by gradient_scale * (softmax - smoothed target).
template <typename T, typename Scalar = typename Simd<T>::Scalar>
void write_gradient(const CrossEntropyBlock& block, T* logits, int64_t target, Scalar sum) {
  const Scalar* exponentials = static_cast<const Scalar*>(block.exponentials);
  const Scalar factor = static_cast<Scalar>(block.gradient_scale) / sum;
  const double share = block.smoothing / static_cast<double>(block.vocab);
  const Scalar everywhere = static_cast<Scalar>(block.gradient_scale * share);
  each_vector<T>(block.vocab, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
    store(load(exponentials + i, part) * factor - everywhere, logits + i, part);
  });
  const double probability = static_cast<double>(exponentials[target]) / static_cast<double>(sum);
  const double gradient = block.gradient_scale * (probability - (1 - block.smoothing) - share);
  narrow(static_cast<Scalar>(gradient), logits + target);
}

template <typename T>
RowLoss row_loss(const CrossEntropyBlock& block, T* logits, int64_t target) {
  using Scalar = typename Simd<T>::Scalar;
  const bool gradient = block.gradient_scale != 0;
  const RowScan<Scalar> row = scan(logits, block.vocab);
  const Scalar target_logit = widen(logits[target]);
  const Scalar shift = row.maximum * static_cast<Scalar>(log2_e);
  Scalar* exponentials = gradient ? static_cast<Scalar*>(block.exponentials) : nullptr;
  const Scalar sum = sum_exponentials(logits, block.vocab, shift, exponentials);
  if (gradient) write_gradient(block, logits, target, sum);

  const double log_sum = __builtin_log(static_cast<double>(sum)) + static_cast<double>(shift) * ln_2;
  RowLoss result;
  result.negative_log_likelihood = log_sum - static_cast<double>(target_logit);
  result.loss = result.negative_log_likelihood;
  if (block.smoothing != 0) {  // a vocabulary with logits of -inf is no trouble without smoothing
    const double mean = log_sum - static_cast<double>(row.total) / static_cast<double>(block.vocab);
    result.loss = (1 - block.smoothing) * result.negative_log_likelihood + block.smoothing * mean;
  }
  result.correct = target_logit >= row.maximum;
  return result;
}

}  // namespace

void cross_entropy_block(const CrossEntropyBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) {
    T* logits = static_cast<T*>(block.logits);
    for (int64_t row = 0; row < block.rows; ++row) {
      block.results[row] = row_loss(block, logits + row * block.vocab, block.targets[row]);
    }
  });
}

}  // namespace rapt::kernels::RAPT_ISA
