#include "attention/linear_checks.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "attention/check.h"
#include "attention/linear_call.h"
#include "core/error.h"

namespace rapt::attention::linear {
namespace {

using Kind = LinearForm::Kind;

constexpr std::string_view operation = "linear attention";

std::string_view name_of(Kind kind) {
  constexpr std::string_view names[] = {"elu_plus_one", "relu", "favor", "retention", "gated_delta"};
  return names[static_cast<int>(kind)];
}

void check_decays(const LinearProblem& problem, DType dtype) {
  require(problem.form.decays != nullptr, "linear attention: retention needs its decays, one for each head");
  for (int head = 0; head < problem.heads; ++head) {
    const double decay = dtype == DType::f64 ? static_cast<const double*>(problem.form.decays)[head]
                                             : double{static_cast<const float*>(problem.form.decays)[head]};
    require(decay >= 0 && decay <= 1, "linear attention: the decay {} of head {} must lie in [0, 1]", decay, head);
  }
}

void check_form(const LinearProblem& problem, DType dtype) {
  const LinearForm& form = problem.form;
  require(form.causal || is_normalised(form), "linear attention: {} exists in causal form only", name_of(form.kind));
  require(std::isfinite(problem.scale), "linear attention: the scale {} is not a number", problem.scale);
  if (form.kind == Kind::favor) {
    require(form.features.count() > 0, "linear attention: favor needs RandomFeatures");
    require(form.features.d_key() == problem.d_key, "linear attention: the random features are for heads of {}, not {}",
            form.features.d_key(), problem.d_key);
    require(problem.scale > 0, "linear attention: the scale {} of favor must be positive", problem.scale);
  }
  if (form.kind == Kind::retention) check_decays(problem, dtype);
  if (form.kind == Kind::gated_delta) {
    check_rows("alpha", form.alpha, scalar_type(dtype), problem.kv_heads, 1);
    check_rows("beta", form.beta, scalar_type(dtype), problem.kv_heads, 1);
  }
}

void check_problem(const LinearProblem& problem) {
  check_heads(operation, problem.heads, problem.kv_heads, problem.d_key, problem.d_value);
  check_bounds(operation, problem.sequences);
}

}  // namespace

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d) {
  require(rows.dtype == dtype, "linear attention: {} is {} where {} is needed", name, rapt::name_of(rows.dtype),
          rapt::name_of(dtype));
  require(rows.stride >= std::int64_t{heads} * d, "linear attention: the stride {} of {} is less than {} heads of {}",
          rows.stride, name, heads, d);
}

void check_keys_and_queries(const LinearProblem& problem, const Rows& q, const Rows& k) {
  check_problem(problem);
  require(q.dtype == DType::f32 || q.dtype == DType::bf16 || q.dtype == DType::f64,
          "linear attention: operands must be f32, bf16 or f64, not {}", rapt::name_of(q.dtype));
  check_rows("q", q, q.dtype, problem.heads, problem.d_key);
  check_rows("k", k, q.dtype, problem.kv_heads, problem.d_key);
  check_form(problem, q.dtype);
}

void check_states(const LinearProblem& problem, const LinearStates& states) {
  if (!problem.form.causal || (states.before == nullptr && states.after == nullptr)) return;
  for (const Span& s : problem.sequences) {
    require(
        s.query_count <= s.key_count,
        "linear attention: sequence {} has {} queries for {} new keys; a state cannot tell what lies before its last "
        "key",
        &s - problem.sequences.data(), s.query_count, s.key_count);
  }
}

void check_gradients(const LinearProblem& problem, DType dtype, const LinearGradients& gradients) {
  check_rows("dq", gradients.q, dtype, problem.heads, problem.d_key);
  check_rows("dk", gradients.k, dtype, problem.kv_heads, problem.d_key);
  check_rows("dv", gradients.v, dtype, problem.kv_heads, problem.d_value);
  for (const auto& [name, rows] : {std::pair{"d_alpha", gradients.alpha}, {"d_beta", gradients.beta}}) {
    if (rows.data != nullptr) check_rows(name, rows, scalar_type(dtype), problem.kv_heads, 1);
  }
  check_nothing_shared(operation, problem.sequences);
}

void check_weights(const LinearProblem& problem, int sequence, int head, std::size_t places) {
  require(
      problem.form.kind != Kind::gated_delta,
      "linear attention: gated_delta implies no weights of keys for queries, because later keys rewrite what earlier "
      "ones stored");
  check_places(operation, problem.sequences, problem.heads, sequence, head, places);
}

}  // namespace rapt::attention::linear
