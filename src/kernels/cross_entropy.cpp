#include "kernels/cross_entropy.h"

#include <vector>

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(cross_entropy_block, (const CrossEntropyBlock& block), (block))

namespace {

void check(const Tensor& logits, std::span<const std::int32_t> targets, double smoothing, const Tensor& row_nll) {
  constexpr const char* kernel = "cross_entropy";
  check_type(kernel, "logits", logits, {DType::f32, DType::bf16, DType::f64});
  require(logits.shape().rank() == 2, "{}: logits are {}, expected [rows, vocab]", kernel, logits.shape());
  const std::int64_t rows = logits.dim(0);
  const std::int64_t vocab = logits.dim(1);
  require(static_cast<std::int64_t>(targets.size()) == rows, "{}: {} targets for {} rows of logits", kernel,
          targets.size(), rows);
  for (std::size_t row = 0; row < targets.size(); ++row) {
    require(targets[row] >= 0 && targets[row] < vocab, "{}: targets[{}] is {}, expected one of a vocabulary of {}",
            kernel, row, targets[row], vocab);
  }
  require(smoothing >= 0 && smoothing <= 1, "{}: smoothing is {}, expected 0 to 1", kernel, smoothing);
  if (row_nll.defined()) check_operand(kernel, "row_nll", row_nll, {rows}, DType::f32);
}

CrossEntropySums sum_of(const std::vector<RowLoss>& rows) {
  CrossEntropySums sums;
  for (const RowLoss& row : rows) {
    sums.loss += row.loss;
    sums.negative_log_likelihood += row.negative_log_likelihood;
    sums.correct += row.correct ? 1 : 0;
  }
  return sums;
}

}  // namespace

CrossEntropySums cross_entropy(const Context& ctx, const Tensor& logits, std::span<const std::int32_t> targets,
                               double smoothing, double gradient_scale, const Tensor& row_nll) {
  check(logits, targets, smoothing, row_nll);
  const std::int64_t vocab = logits.dim(1);
  const DType dtype = logits.dtype();
  const bool gradient = gradient_scale != 0;
  void* const data = gradient ? logits.raw_write() : const_cast<void*>(logits.raw());
  std::vector<RowLoss> rows(targets.size());
  const Blocks blocks = Blocks::of_rows(logits.dim(0), vocab);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    const Tensor exponentials = gradient ? Tensor::empty({vocab}, accumulator_of(dtype)) : Tensor();
    cross_entropy_block({.dtype = dtype,
                         .rows = blocks.length(i),
                         .vocab = vocab,
                         .logits = at(data, dtype, row * vocab),
                         .targets = targets.data() + row,
                         .smoothing = smoothing,
                         .gradient_scale = gradient_scale,
                         .exponentials = exponentials.raw_write(),
                         .results = rows.data() + row});
  });
  if (row_nll.defined()) {
    std::transform(rows.begin(), rows.end(), row_nll.write<float>(),
                   [](const RowLoss& row) { return static_cast<float>(row.negative_log_likelihood); });
  }
  return sum_of(rows);
}

}  // namespace rapt::kernels
