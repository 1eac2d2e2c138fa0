#include "rapt/attention.h"

#include <cmath>

#include "autograd/attention_operands.h"

namespace rapt::ops {

Var attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
              std::vector<attention::Span> spans, const AttentionOptions& options) {
  if (options.linear) return linear_attention(ctx, q, k, v, std::move(spans), options);
  return scaled_dot_product_attention(ctx, q, k, v, std::move(spans), options);
}

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
    log_sum_exp = ctx.allocate({tokens, options.heads}, scalar_type(dtype));
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
