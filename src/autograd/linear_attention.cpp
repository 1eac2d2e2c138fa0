#include "rapt/linear_form.h"

#include "autograd/attention_operands.h"

namespace rapt::ops {
namespace {

/// A problem, its form and the decays that this points to, in the type computed with.
struct PreparedProblem {
  PreparedProblem(const AttentionOptions& options, std::span<const attention::Span> spans, DType dtype,
                  const Var& gates = {})
      : f64(options.linear->decays), f32(f64.begin(), f64.end()) {
    const LinearAttention& linear = *options.linear;
    const void* decays = dtype == DType::f64 ? static_cast<const void*>(f64.data()) : f32.data();
    form = {.kind = linear.kind, .features = linear.features, .decays = f64.empty() ? nullptr : decays};
    problem = {.sequences = spans,
               .heads = options.heads,
               .kv_heads = options.kv_heads,
               .d_key = options.d_head,
               .d_value = options.d_head,
               .scale = scale_of(options),
               .visibility = linear.causal ? attention::Visibility::causal() : attention::Visibility::full(),
               .linear = &form};
    if (!gates.defined()) return;
    form.alpha = rows_of(gates.value(), 0);
    form.beta = rows_of(gates.value(), options.kv_heads);
  }
  PreparedProblem(const PreparedProblem&) = delete;
  PreparedProblem& operator=(const PreparedProblem&) = delete;

  std::vector<double> f64;
  std::vector<float> f32;
  attention::LinearForm form;
  attention::Problem problem;
};

}  // namespace

std::int64_t linear_state_size(const AttentionOptions& options) {
  return attention::state_size(PreparedProblem(options, {}, DType::f32).problem);
}

Var linear_attention(Context& ctx, const HeadColumns& q, const HeadColumns& k, const HeadColumns& v,
                     std::vector<attention::Span> spans, const AttentionOptions& options, const LinearOperands& more) {
  const auto& [gates, states] = more;
  require(!states.defined() || ctx.tape == nullptr, "linear attention: there are no gradients through a state");
  const DType dtype = q.values.dtype();
  const PreparedProblem prepared(options, spans, dtype, gates);
  Var out(ctx.allocate({q.values.dim(0), static_cast<std::int64_t>(options.heads) * options.d_head}, dtype));
  Tensor log_sum_exp;
  if (ctx.trace != nullptr && prepared.form.is_normalised()) {
    log_sum_exp = ctx.allocate({q.values.dim(0), options.heads}, scalar_type(dtype));
  }
  const attention::Inputs inputs{rows_of(q), rows_of(k), rows_of(v), states.defined() ? states.raw() : nullptr};
  const attention::Outputs outputs{.out = rows_of(out.value(), 0),
                                   .log_sum_exp = log_sum_exp.defined() ? log_sum_exp.raw_write() : nullptr,
                                   .states = states.defined() ? states.raw_write() : nullptr};
  attention::forward(prepared.problem, inputs, outputs, ctx.threads());
  if (ctx.trace != nullptr) {
    ctx.trace->attention(ctx, {.kind = options.kind,
                               .layer = options.layer,
                               .problem = prepared.problem,
                               .inputs = inputs,
                               .log_sum_exp = outputs.log_sum_exp});
  }
  if (ctx.tape == nullptr) return out;

  ctx.tape->record([=, spans = std::move(spans), gates = gates](Context& c) {
    const Tensor d_out = out.take_gradient();
    if (!d_out.defined()) return;
    const PreparedProblem again(options, spans, q.values.dtype(), gates);
    OperandGradients gradients;
    attention::Gradients to{.q = gradients.rows(c, q), .k = gradients.rows(c, k), .v = gradients.rows(c, v)};
    if (gates.defined()) {
      to.alpha = gradients.rows(c, {gates, 0});
      to.beta = gradients.rows(c, {gates, options.kv_heads});
    }
    attention::backward(again.problem, {rows_of(q), rows_of(k), rows_of(v)}, {}, rows_of(d_out, 0), to, c.threads());
    gradients.add(c);
  });
  return out;
}

}  // namespace rapt::ops
