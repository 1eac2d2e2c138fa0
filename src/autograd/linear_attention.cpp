#include "rapt/linear_attention.h"

#include "autograd/attention_operands.h"

namespace rapt::ops {
namespace {

/// A problem and the decays that it points to, in the type computed with.
struct PreparedProblem {
  PreparedProblem(const AttentionOptions& options, std::span<const attention::Span> spans, DType dtype,
                  const Var& gates = {})
      : f64(options.linear->decays), f32(f64.begin(), f64.end()) {
    const LinearAttention& linear = *options.linear;
    const void* decays = dtype == DType::f64 ? static_cast<const void*>(f64.data()) : f32.data();
    problem = {.sequences = spans,
               .heads = options.heads,
               .kv_heads = options.kv_heads,
               .d_key = options.d_head,
               .d_value = options.d_head,
               .scale = scale_of(options),
               .form = {.kind = linear.kind,
                        .causal = linear.causal,
                        .features = linear.features,
                        .decays = f64.empty() ? nullptr : decays}};
    if (!gates.defined()) return;
    problem.form.alpha = rows_of(gates.value(), 0);
    problem.form.beta = rows_of(gates.value(), options.kv_heads);
  }
  PreparedProblem(const PreparedProblem&) = delete;
  PreparedProblem& operator=(const PreparedProblem&) = delete;

  std::vector<double> f64;
  std::vector<float> f32;
  attention::LinearProblem problem;
};

void tell(Context& ctx, const attention::LinearProblem& problem, const attention::Inputs& inputs,
          const AttentionOptions& options, bool from_start) {
  const attention::Problem sizes{.sequences = problem.sequences,
                                 .heads = problem.heads,
                                 .kv_heads = problem.kv_heads,
                                 .d_key = problem.d_key,
                                 .d_value = problem.d_value,
                                 .scale = problem.scale};
  ctx.trace->attention(ctx, {.kind = options.kind,
                             .layer = options.layer,
                             .problem = sizes,
                             .inputs = inputs,
                             .linear = &problem,
                             .from_start = from_start});
}

}  // namespace

std::int64_t linear_state_size(const AttentionOptions& options) {
  return attention::linear_state_size(PreparedProblem(options, {}, DType::f32).problem);
}

Var linear_attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
                     std::vector<attention::Span> spans, const AttentionOptions& options, const LinearOperands& more) {
  const auto& [gates, states] = more;
  require(!states.defined() || ctx.tape == nullptr, "linear attention: there are no gradients through a state");
  const DType dtype = q.values.dtype();
  const PreparedProblem prepared(options, spans, dtype, gates);
  const Var out(ctx.allocate({q.values.dim(0), static_cast<std::int64_t>(options.heads) * options.d_head}, dtype));
  const attention::Inputs inputs{rows_of(q), rows_of(k), rows_of(v)};
  attention::LinearStates to_update;
  if (states.defined()) to_update = {.before = states.raw(), .after = states.raw_write()};
  attention::linear_forward(prepared.problem, inputs, rows_of(out.value(), 0), to_update, ctx.threads());
  if (ctx.trace != nullptr) tell(ctx, prepared.problem, inputs, options, !states.defined());
  if (ctx.tape == nullptr) return out;

  ctx.tape->record([=, spans = std::move(spans), gates = gates](Context& c) {
    const Tensor d_out = out.take_gradient();
    if (!d_out.defined()) return;
    const PreparedProblem again(options, spans, q.values.dtype(), gates);
    OperandGradients gradients;
    attention::LinearGradients to{.q = gradients.rows(c, q), .k = gradients.rows(c, k), .v = gradients.rows(c, v)};
    if (gates.defined()) {
      to.alpha = gradients.rows(c, {gates, 0});
      to.beta = gradients.rows(c, {gates, options.kv_heads});
    }
    attention::linear_backward(again.problem, {rows_of(q), rows_of(k), rows_of(v)}, rows_of(d_out, 0), to, c.threads());
    gradients.add(c);
  });
  return out;
}

}  // namespace rapt::ops
