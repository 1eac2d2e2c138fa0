#include "rapt/attention.h"

#include "autograd/attention_operands.h"

namespace rapt::ops {

namespace {

attention::RelativeBias relative_bias(const AttentionOptions& options) {
  if (!options.relative_table) return {};
  const Tensor& table = options.relative_table->value();
  return {.table = table.raw(),
          .buckets = static_cast<std::int32_t>(table.dim(0)),
          .max_distance = options.relative_max_distance,
          .bidirectional = options.relative_bidirectional};
}

}  // namespace

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
                             .scale = scale_of(options),
                             .soft_cap = options.soft_cap,
                             .visibility = options.visibility,
                             .relative = relative_bias(options),
                             .dropout = draw_dropout(ctx, options.dropout)};
  const DType dtype = q.values.dtype();
  const std::int64_t tokens = q.values.dim(0);
  Var out(ctx.allocate({tokens, static_cast<std::int64_t>(options.heads) * options.d_head}, dtype));
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

  ctx.tape->record([=, relative_table = options.relative_table, spans = std::move(spans)](Context& c) mutable {
    const Tensor d_out = out.take_gradient();
    if (!d_out.defined()) return;
    problem.sequences = spans;
    OperandGradients gradients;
    attention::Gradients to{.q = gradients.rows(c, q), .k = gradients.rows(c, k), .v = gradients.rows(c, v)};
    Tensor d_relative;
    if (relative_table) {
      d_relative = c.allocate(relative_table->shape(), relative_table->dtype());
      to.relative = d_relative.raw_write();
    }
    const attention::Outputs saved{.out = rows_of(out.value(), 0), .log_sum_exp = const_cast<void*>(log_sum_exp.raw())};
    attention::backward(problem, {rows_of(q), rows_of(k), rows_of(v)}, saved, rows_of(d_out, 0), to, c.threads());
    gradients.add(c);
    if (relative_table) kernels::accumulate(c, relative_table->gradient_sum(), d_relative);
  });
  return out;
}

}  // namespace rapt::ops
