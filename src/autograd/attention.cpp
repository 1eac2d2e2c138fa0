#include "rapt/attention.h"

#include <cmath>

#include "autograd/ops.h"

namespace rapt::ops {
namespace {

attention::Rows rows_of(const Tensor& values, std::int64_t begin) {
  // Reading through a pointer to mutable data: the operator writes only to outputs and gradients.
  auto* data = static_cast<std::byte*>(const_cast<void*>(values.raw()));
  return {.dtype = values.dtype(),
          .data = data + static_cast<std::size_t>(begin) * size_of(values.dtype()),
          .stride = values.dim(1)};
}

attention::Rows rows_of(const HeadColumns& columns) {
  return rows_of(columns.values.value(), columns.begin);
}

/// The gradients of q, k and v, which may be columns of one value (fused projections) or of several. The operator
/// overwrites, so each value gets one fresh tensor, added to the value's gradient at the end.
class OperandGradients {
 public:
  attention::Rows rows(Context& ctx, const HeadColumns& columns) {
    for (auto& [value, gradient] : gradients_) {
      if (value.value().raw() == columns.values.value().raw()) return rows_of(gradient, columns.begin);
    }
    gradients_.emplace_back(columns.values, ctx.allocate(columns.values.shape(), columns.values.dtype()));
    return rows_of(gradients_.back().second, columns.begin);
  }
  void add(Context& ctx) {
    for (auto& [value, gradient] : gradients_) value.add_gradient(ctx, std::move(gradient));
  }

 private:
  std::vector<std::pair<Var, Tensor>> gradients_;
};

}  // namespace

Var scaled_dot_product_attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
                                 std::vector<attention::Span> spans, const AttentionOptions& options) {
  attention::Problem problem{.sequences = spans,
                             .heads = options.heads,
                             .kv_heads = options.kv_heads,
                             .d_key = options.d_head,
                             .d_value = options.d_head,
                             .scale = 1.0 / std::sqrt(static_cast<double>(options.d_head)),
                             .visibility = options.visibility,
                             .dropout = draw_dropout(ctx, options.dropout)};
  const DType dtype = q.values.dtype();
  const std::int64_t tokens = q.values.dim(0);
  const Var out(ctx.allocate({tokens, static_cast<std::int64_t>(options.heads) * options.d_head}, dtype));
  Tensor log_sum_exp;
  if (ctx.tape != nullptr || ctx.trace != nullptr) {
    log_sum_exp = ctx.allocate({tokens, options.heads}, dtype == DType::f64 ? DType::f64 : DType::f32);
  }
  const attention::Inputs inputs{rows_of(q), rows_of(k), rows_of(v)};
  const attention::Outputs outputs{.out = rows_of(out.value(), 0),
                                   .log_sum_exp = log_sum_exp.defined() ? log_sum_exp.raw_write() : nullptr};
  attention::forward(problem, inputs, outputs, ctx.threads());
  if (ctx.trace != nullptr) {
    ctx.trace->attention(ctx, {.kind = options.kind,
                               .layer = options.layer,
                               .problem = problem,
                               .inputs = inputs,
                               .log_sum_exp = outputs.log_sum_exp});
  }
  if (ctx.tape == nullptr) return out;

  ctx.tape->record([=, spans = std::move(spans)](Context& c) mutable {
    const Tensor d_out = out.take_gradient();
    if (!d_out.defined()) return;
    problem.sequences = spans;
    OperandGradients gradients;
    const attention::Gradients to{.q = gradients.rows(c, q), .k = gradients.rows(c, k), .v = gradients.rows(c, v)};
    const attention::Outputs saved{.out = rows_of(out.value(), 0), .log_sum_exp = const_cast<void*>(log_sum_exp.raw())};
    attention::backward(problem, {rows_of(q), rows_of(k), rows_of(v)}, saved, rows_of(d_out, 0), to, c.threads());
    gradients.add(c);
  });
  return out;
}

}  // namespace rapt::ops
