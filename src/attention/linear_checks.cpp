#include "attention/linear_checks.h"

#include <utility>

#include "attention/check.h"
#include "core/error.h"

namespace rapt::attention::linear {
namespace {

using Kind = LinearForm::Kind;

void check_nothing_of_softmax(const Problem& problem) {
  const std::pair<bool, std::string_view> of_softmax[] = {{problem.soft_cap != 0, "a soft cap"},
                                                          {problem.bias.data != nullptr, "a bias"},
                                                          {problem.relative.table != nullptr, "a relative bias"},
                                                          {problem.alibi_slopes != nullptr, "ALiBi's slopes"},
                                                          {problem.sinks != nullptr, "sinks"},
                                                          {problem.dropout.active(), "dropout"},
                                                          {problem.pages.size != 0, "pages"}};
  for (const auto& [present, name] : of_softmax) {
    require(!present, "attention: {} cannot go with a linear form ({}), only with softmax; leave one of them out", name,
            name_of(problem.linear->kind));
  }
}

void check_decays(const Problem& problem, DType dtype) {
  const void* const decays = problem.linear->decays;
  require(decays != nullptr, "attention: retention needs its decays, one for each head");
  for (int head = 0; head < problem.heads; ++head) {
    const double decay = dtype == DType::f64 ? static_cast<const double*>(decays)[head]
                                             : double{static_cast<const float*>(decays)[head]};
    require(decay >= 0 && decay <= 1, "attention: the decay {} of head {} must lie in [0, 1]", decay, head);
  }
}

void check_gates(std::string_view name, const Rows& rows, DType dtype, int kv_heads) {
  const DType needed = dtype == DType::f64 ? DType::f64 : DType::f32;
  require(rows.dtype == needed, "attention: {} is {} where {} is needed", name, rapt::name_of(rows.dtype),
          rapt::name_of(needed));
  check_stride(name, rows, kv_heads, 1);
}

void check_log_sum_exp(const LinearForm& form, const void* log_sum_exp) {
  require(log_sum_exp == nullptr || form.is_normalised(),
          "attention: {} divides by no sum of weights, so it has no log_sum_exp; give no place for it",
          name_of(form.kind));
}

/// That the form implies weights of keys for queries, all of which are known.
void check_implied(const LinearForm& form, const Inputs& inputs) {
  require(form.kind != Kind::gated_delta,
          "attention: gated_delta implies no weights of keys for queries, because later keys rewrite what earlier ones "
          "stored");
  require(inputs.states == nullptr, "attention: the weights of keys that lie in a state are not known any more");
}

void check_states(const Problem& problem, const Inputs& inputs, const Outputs& outputs) {
  if (problem.visibility.is_full() || (inputs.states == nullptr && outputs.states == nullptr)) return;
  for (const Span& s : problem.sequences) {
    require(s.query_count <= s.key_count,
            "attention: sequence {} has {} queries for {} new keys; a state cannot tell what lies before its last key",
            &s - problem.sequences.data(), s.query_count, s.key_count);
  }
}

}  // namespace

void check_form(const Problem& problem) {
  const LinearForm& form = *problem.linear;
  require(problem.visibility.is_full() || problem.visibility.is_causal(),
          "attention: a linear form ({}) sees all keys or, under causal(), those up to its position; not {}",
          name_of(form.kind), problem.visibility.text());
  require(problem.visibility.is_causal() || form.is_normalised(),
          "attention: {} exists in causal form only; set the visibility to causal()", name_of(form.kind));
  check_nothing_of_softmax(problem);
  if (form.kind != Kind::favor) return;
  require(form.features.count() > 0, "attention: favor needs RandomFeatures");
  require(form.features.d_key() == problem.d_key, "attention: the random features are for heads of {}, not {}",
          form.features.d_key(), problem.d_key);
  require(problem.scale > 0, "attention: the scale {} of favor must be positive", problem.scale);
}

void check_operands(const Problem& problem, DType dtype) {
  const LinearForm& form = *problem.linear;
  if (form.kind == Kind::retention) check_decays(problem, dtype);
  if (form.kind != Kind::gated_delta) return;
  check_gates("alpha", form.alpha, dtype, problem.kv_heads);
  check_gates("beta", form.beta, dtype, problem.kv_heads);
}

void check_outputs(const Problem& problem, const Inputs& inputs, const Outputs& outputs) {
  const LinearForm& form = *problem.linear;
  check_states(problem, inputs, outputs);
  check_log_sum_exp(form, outputs.log_sum_exp);
  const Statistics* const ask = outputs.statistics;
  if (ask == nullptr || (!ask->of_rows() && !ask->of_tiles() && ask->rows.empty())) return;
  check_implied(form, inputs);
  require(form.is_normalised() || (!ask->of_rows() && !ask->of_tiles()),
          "attention: the weights of {} are of either sign and have no fixed sum, so there are no statistics of them; "
          "row_weights are all it can give",
          name_of(form.kind));
}

void check_gradients(const Problem& problem, const Inputs& inputs, const Gradients& gradients) {
  const DType dtype = inputs.q.dtype;
  require(inputs.states == nullptr, "attention: there is no backward pass through a state");
  require(gradients.scale == nullptr, "attention: linear forms have no gradient of the scale");
  require(gradients.key_mass == nullptr && gradients.bins == 0,
          "attention: the backward pass of linear forms sees no weights; ask the forward pass for key_mass and pooled");
  if (gradients.alpha.data != nullptr) check_gates("d_alpha", gradients.alpha, dtype, problem.kv_heads);
  if (gradients.beta.data != nullptr) check_gates("d_beta", gradients.beta, dtype, problem.kv_heads);
}

void check_weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp) {
  check_implied(*problem.linear, inputs);
  check_log_sum_exp(*problem.linear, log_sum_exp);
}

}  // namespace rapt::attention::linear
