#include "attention/linear_checks.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "attention/linear_call.h"
#include "core/error.h"

namespace rapt::attention::linear {
namespace {

using Kind = LinearForm::Kind;

constexpr int most_width = 1024;

std::string_view name_of(Kind kind) {
  constexpr std::string_view names[] = {"elu_plus_one", "relu", "favor", "retention", "gated_delta"};
  return names[static_cast<int>(kind)];
}

void check_sequences(const LinearProblem& problem) {
  for (const Span& s : problem.sequences) {
    require(s.query_begin >= 0 && s.query_count >= 0 && s.key_begin >= 0 && s.key_count >= 0,
            "linear attention: sequence {} has a negative bound (queries {}+{}, keys {}+{})",
            &s - problem.sequences.data(), s.query_begin, s.query_count, s.key_begin, s.key_count);
  }
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
  require(problem.heads > 0 && problem.kv_heads > 0 && problem.heads % problem.kv_heads == 0,
          "linear attention: {} query heads cannot share {} key-value heads evenly", problem.heads, problem.kv_heads);
  require(std::min(problem.d_key, problem.d_value) >= 1 && std::max(problem.d_key, problem.d_value) <= most_width,
          "linear attention: head widths d_key {} and d_value {} must lie in 1..{}", problem.d_key, problem.d_value,
          most_width);
  check_sequences(problem);
}

/// Throws unless the ranges (begin, count) are disjoint.
void check_disjoint(std::vector<std::pair<std::int32_t, std::int32_t>> ranges, std::string_view what) {
  std::erase_if(ranges, [](const auto& range) { return range.second == 0; });
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const auto [begin, count] = ranges[i - 1];
    require(ranges[i].first - begin >= count,
            "linear attention: two sequences share {} row {}, whose gradient would be written twice", what,
            ranges[i].first);
  }
}

void check_nothing_shared(std::span<const Span> sequences) {
  std::vector<std::pair<std::int32_t, std::int32_t>> queries, keys;
  for (const Span& s : sequences) {
    queries.emplace_back(s.query_begin, s.query_count);
    keys.emplace_back(s.key_begin, s.key_count);
  }
  check_disjoint(std::move(queries), "query");
  check_disjoint(std::move(keys), "key");
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
  check_nothing_shared(problem.sequences);
}

void check_weights(const LinearProblem& problem, int sequence, int head, std::size_t places) {
  require(
      problem.form.kind != Kind::gated_delta,
      "linear attention: gated_delta implies no weights of keys for queries, because later keys rewrite what earlier "
      "ones stored");
  require(sequence >= 0 && static_cast<std::size_t>(sequence) < problem.sequences.size(),
          "linear attention: there is no sequence {} among {}", sequence, problem.sequences.size());
  require(head >= 0 && head < problem.heads, "linear attention: there is no head {} among {}", head, problem.heads);
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  require(places == static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
          "linear attention: {} places cannot take the weights of {} queries and {} keys", places, s.query_count,
          s.key_count);
}

}  // namespace rapt::attention::linear
