#include "attention/check.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/linear_checks.h"
#include "attention/statistics.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

constexpr int most_width = 1024;

/// Throws unless the ranges (begin, count) are disjoint.
void check_disjoint(std::vector<std::pair<std::int32_t, std::int32_t>> ranges, std::string_view what) {
  std::erase_if(ranges, [](const auto& range) { return range.second == 0; });
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const auto [begin, count] = ranges[i - 1];
    require(ranges[i].first - begin >= count,
            "attention: two sequences share {} row {}, whose gradient would be written twice", what, ranges[i].first);
  }
}

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d) {
  require(rows.dtype == dtype, "attention: {} is {}, q is {}; all operands must have one type", name,
          name_of(rows.dtype), name_of(dtype));
  check_stride(name, rows, heads, d);
}

void check_pages(const Problem& problem) {
  require(problem.pages.size >= 0, "attention: pages of {} rows", problem.pages.size);
  if (problem.pages.size == 0) return;
  for (const Span& s : problem.sequences) {
    const std::int64_t last = std::int64_t{s.key_begin} + s.key_count - 1;
    require(s.key_count == 0 || last / problem.pages.size < static_cast<std::int64_t>(problem.pages.table.size()),
            "attention: sequence {} has a key in page {}, the table has {}", &s - problem.sequences.data(),
            last / problem.pages.size, problem.pages.table.size());
  }
}

void check_terms(const Problem& problem) {
  require(problem.soft_cap >= 0 && std::isfinite(problem.soft_cap), "attention: the soft cap is {}; 0 is none",
          problem.soft_cap);
  const RelativeBias& relative = problem.relative;
  require(relative.table == nullptr || (relative.buckets >= (relative.bidirectional ? 4 : 2) &&
                                        relative.max_distance > relative.buckets / (relative.bidirectional ? 4 : 2)),
          "attention: {} buckets cannot hold relative distances up to {}", relative.buckets, relative.max_distance);
}

void check_gradient(std::string_view name, const void* gradient, bool present) {
  require(gradient == nullptr || present, "attention: a gradient of {} is wanted, but the problem has none", name);
}

void check_scored(const Problem& problem, const Inputs& inputs) {
  const DType dtype = inputs.q.dtype;
  require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64,
          "attention: operands must be f32, bf16 or f64, not {}", name_of(dtype));
  check_rows("q", inputs.q, dtype, problem.heads, problem.d_key);
  check_rows("k", inputs.k, dtype, problem.kv_heads, problem.d_key);
  if (problem.linear != nullptr) linear::check_operands(problem, dtype);
}

void check_bounds(std::span<const Span> sequences) {
  for (const Span& s : sequences) {
    require(s.query_begin >= 0 && s.query_count >= 0 && s.key_begin >= 0 && s.key_count >= 0,
            "attention: sequence {} has a negative bound (queries {}+{}, keys {}+{})", &s - sequences.data(),
            s.query_begin, s.query_count, s.key_begin, s.key_count);
  }
}

/// No row of queries or keys belongs to two sequences.
void check_nothing_shared(std::span<const Span> sequences) {
  std::vector<std::pair<std::int32_t, std::int32_t>> queries, keys;
  for (const Span& s : sequences) {
    queries.emplace_back(s.query_begin, s.query_count);
    keys.emplace_back(s.key_begin, s.key_count);
  }
  check_disjoint(std::move(queries), "query");
  check_disjoint(std::move(keys), "key");
}

/// Whether weights are exp(score - log_sum_exp).
bool has_log_sum_exp(const Problem& problem) {
  return problem.linear == nullptr || problem.linear->is_normalised();
}

void check_bins(int bins, const float* pooled) {
  require(bins >= 0 && (bins == 0 || pooled != nullptr),
          "attention: a pooled map of {} bins is asked for without a place for it", bins);
}

void check_statistics(const Problem& problem, const Outputs& outputs) {
  const Statistics* const ask = outputs.statistics;
  if (ask == nullptr) return;
  require(ask->top >= 0 && (ask->top == 0 || (ask->top_keys != nullptr && ask->top_weights != nullptr)),
          "attention: the {} heaviest keys are asked for without places for them and their weights", ask->top);
  check_bins(ask->bins, ask->pooled);
  require(outputs.log_sum_exp != nullptr || !has_log_sum_exp(problem) || (!ask->of_tiles() && ask->rows.empty()),
          "attention: key_mass, pooled and row_weights need a place for log_sum_exp");
  if (ask->key_mass != nullptr) {
    std::vector<std::pair<std::int32_t, std::int32_t>> keys;
    for (const Span& s : problem.sequences) keys.emplace_back(s.key_begin, s.key_count);
    check_disjoint(std::move(keys), "key");
  }
  for (const std::int32_t row : ask->rows) {
    const std::size_t sequence = sequence_of_row(problem, row);
    require(sequence < problem.sequences.size(),
            "attention: the weights of row {} are asked for, which no sequence has", row);
    const std::int32_t keys = problem.sequences[sequence].key_count;
    require(ask->row_weights != nullptr && ask->row_stride >= keys,
            "attention: {} places a row cannot take the weights of {} keys", ask->row_stride, keys);
  }
}

void check_stateless(const Inputs& inputs, const Outputs& outputs) {
  require(inputs.states == nullptr && outputs.states == nullptr,
          "attention: softmax keeps no state; states go with a linear form");
}

/// What the forward pass of softmax left for the backward pass.
void check_saved(const Problem& problem, const Outputs& outputs) {
  require(problem.pages.size == 0, "attention: there is no backward pass through paged keys");
  const bool any_queries =
      std::any_of(problem.sequences.begin(), problem.sequences.end(), [](const Span& s) { return s.query_count > 0; });
  require(outputs.log_sum_exp != nullptr || !any_queries,
          "attention: the backward pass needs the log_sum_exp of the forward pass");
}

/// That only what the problem has is differentiated.
void check_gradients(const Problem& problem, const Gradients& gradients) {
  using Kind = LinearForm::Kind;
  const auto is = [&](Kind kind) { return problem.linear != nullptr && problem.linear->kind == kind; };
  check_gradient("a bias", gradients.bias, problem.bias.data != nullptr);
  check_gradient("a relative bias", gradients.relative, problem.relative.table != nullptr);
  check_gradient("ALiBi's slopes", gradients.alibi_slopes, problem.alibi_slopes != nullptr);
  check_gradient("sinks", gradients.sinks, problem.sinks != nullptr);
  check_gradient("a soft cap", gradients.soft_cap, problem.soft_cap > 0);
  check_gradient("alpha", gradients.alpha.data, is(Kind::gated_delta));
  check_gradient("beta", gradients.beta.data, is(Kind::gated_delta));
  check_gradient("decays", gradients.decays, is(Kind::retention));
}

}  // namespace

void check_stride(std::string_view name, const Rows& rows, int heads, int d) {
  require(rows.stride >= std::int64_t{heads} * d, "attention: the stride {} of {} is less than {} heads of {}",
          rows.stride, name, heads, d);
}

void check_problem(const Problem& problem) {
  require(problem.heads > 0 && problem.kv_heads > 0 && problem.heads % problem.kv_heads == 0,
          "attention: {} query heads cannot share {} key-value heads evenly", problem.heads, problem.kv_heads);
  require(std::min(problem.d_key, problem.d_value) >= 1 && std::max(problem.d_key, problem.d_value) <= most_width,
          "attention: head widths d_key {} and d_value {} must lie in 1..{}", problem.d_key, problem.d_value,
          most_width);
  require(problem.dropout.probability >= 0 && problem.dropout.probability < 1,
          "attention: dropout probability {} must lie in [0, 1)", problem.dropout.probability);
  check_bounds(problem.sequences);
  require(std::isfinite(problem.scale), "attention: the scale is {}", problem.scale);
  if (problem.linear != nullptr) return linear::check_form(problem);
  problem.visibility.check(problem.sequences);
  check_pages(problem);
  check_terms(problem);
}

void check_forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs) {
  check_problem(problem);
  check_scored(problem, inputs);
  check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
  check_rows("out", outputs.out, inputs.q.dtype, problem.heads, problem.d_value);
  if (problem.linear != nullptr) {
    linear::check_outputs(problem, inputs, outputs);
  } else {
    check_stateless(inputs, outputs);
  }
  check_statistics(problem, outputs);
}

void check_backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
                    const Gradients& gradients) {
  if (problem.linear == nullptr) {
    check_forward(problem, inputs, outputs);
    check_saved(problem, outputs);
  } else {
    check_problem(problem);
    check_scored(problem, inputs);
    check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
    linear::check_gradients(problem, inputs, gradients);
  }
  check_nothing_shared(problem.sequences);
  const DType dtype = inputs.q.dtype;
  check_rows("d_out", d_out, dtype, problem.heads, problem.d_value);
  check_rows("dq", gradients.q, dtype, problem.heads, problem.d_key);
  check_rows("dk", gradients.k, dtype, problem.kv_heads, problem.d_key);
  check_rows("dv", gradients.v, dtype, problem.kv_heads, problem.d_value);
  check_gradients(problem, gradients);
  check_bins(gradients.bins, gradients.pooled);
}

void check_merge(const Merge& sizes, std::span<const Outputs> parts, const Outputs& result) {
  const DType dtype = result.out.dtype;
  require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64,
          "attention: results must be f32, bf16 or f64, not {}", name_of(dtype));
  require(sizes.tokens >= 0 && sizes.heads > 0 && sizes.d_value > 0,
          "attention: cannot merge {} tokens of {} heads of {}", sizes.tokens, sizes.heads, sizes.d_value);
  check_rows("the merged result", result.out, dtype, sizes.heads, sizes.d_value);
  for (const Outputs& part : parts) {
    check_rows("a part", part.out, dtype, sizes.heads, sizes.d_value);
    require(part.log_sum_exp != nullptr, "attention: a part cannot be merged without its log_sum_exp");
  }
}

void check_weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp, int sequence, int head,
                   std::size_t places) {
  check_problem(problem);
  check_scored(problem, inputs);
  if (problem.linear != nullptr) {
    linear::check_weights(problem, inputs, log_sum_exp);
  } else {
    check_stateless(inputs, {});
  }
  require(log_sum_exp != nullptr || !has_log_sum_exp(problem),
          "attention: the weights need the log_sum_exp of the forward pass");
  require(sequence >= 0 && static_cast<std::size_t>(sequence) < problem.sequences.size(),
          "attention: there is no sequence {} among {}", sequence, problem.sequences.size());
  require(head >= 0 && head < problem.heads, "attention: there is no head {} among {}", head, problem.heads);
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  require(places == static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
          "attention: {} places cannot take the weights of {} queries and {} keys", places, s.query_count, s.key_count);
}

}  // namespace rapt::attention
