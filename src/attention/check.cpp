#include "attention/check.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/statistics.h"
#include "core/error.h"

namespace rapt::attention {
namespace {

constexpr std::string_view operation = "attention";
constexpr int most_width = 1024;

/// Throws unless the ranges (begin, count) are disjoint.
void check_disjoint(std::string_view caller, std::vector<std::pair<std::int32_t, std::int32_t>> ranges,
                    std::string_view what) {
  std::erase_if(ranges, [](const auto& range) { return range.second == 0; });
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const auto [begin, count] = ranges[i - 1];
    require(ranges[i].first - begin >= count,
            "{}: two sequences share {} row {}, whose gradient would be written twice", caller, what, ranges[i].first);
  }
}

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d) {
  require(rows.dtype == dtype, "attention: {} is {}, q is {}; all operands must have one type", name,
          name_of(rows.dtype), name_of(dtype));
  require(rows.stride >= std::int64_t{heads} * d, "attention: the stride {} of {} is less than {} heads of {}",
          rows.stride, name, heads, d);
}

/// Throws unless the ranges (begin, count) are disjoint.
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
  require(std::isfinite(problem.scale), "attention: the scale is {}", problem.scale);
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
}

}  // namespace

void check_heads(std::string_view caller, int heads, int kv_heads, int d_key, int d_value) {
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0,
          "{}: {} query heads cannot share {} key-value heads evenly", caller, heads, kv_heads);
  require(std::min(d_key, d_value) >= 1 && std::max(d_key, d_value) <= most_width,
          "{}: head widths d_key {} and d_value {} must lie in 1..{}", caller, d_key, d_value, most_width);
}

void check_bounds(std::string_view caller, std::span<const Span> sequences) {
  for (const Span& s : sequences) {
    require(s.query_begin >= 0 && s.query_count >= 0 && s.key_begin >= 0 && s.key_count >= 0,
            "{}: sequence {} has a negative bound (queries {}+{}, keys {}+{})", caller, &s - sequences.data(),
            s.query_begin, s.query_count, s.key_begin, s.key_count);
  }
}

void check_nothing_shared(std::string_view caller, std::span<const Span> sequences) {
  std::vector<std::pair<std::int32_t, std::int32_t>> queries, keys;
  for (const Span& s : sequences) {
    queries.emplace_back(s.query_begin, s.query_count);
    keys.emplace_back(s.key_begin, s.key_count);
  }
  check_disjoint(caller, std::move(queries), "query");
  check_disjoint(caller, std::move(keys), "key");
}

void check_places(std::string_view caller, std::span<const Span> sequences, int heads, int sequence, int head,
                  std::size_t places) {
  require(sequence >= 0 && static_cast<std::size_t>(sequence) < sequences.size(),
          "{}: there is no sequence {} among {}", caller, sequence, sequences.size());
  require(head >= 0 && head < heads, "{}: there is no head {} among {}", caller, head, heads);
  const Span& s = sequences[static_cast<std::size_t>(sequence)];
  require(places == static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
          "{}: {} places cannot take the weights of {} queries and {} keys", caller, places, s.query_count,
          s.key_count);
}

void check_problem(const Problem& problem) {
  check_heads(operation, problem.heads, problem.kv_heads, problem.d_key, problem.d_value);
  require(problem.dropout.probability >= 0 && problem.dropout.probability < 1,
          "attention: dropout probability {} must lie in [0, 1)", problem.dropout.probability);
  check_bounds(operation, problem.sequences);
  problem.visibility.check(problem.sequences);
  check_pages(problem);
  check_terms(problem);
}

void check_statistics(const Problem& problem, const Outputs& outputs) {
  const Statistics* const ask = outputs.statistics;
  if (ask == nullptr) return;
  require(ask->top >= 0 && (ask->top == 0 || (ask->top_keys != nullptr && ask->top_weights != nullptr)),
          "attention: the {} heaviest keys are asked for without places for them and their weights", ask->top);
  require(ask->bins >= 0 && (ask->bins == 0 || ask->pooled != nullptr),
          "attention: a pooled map of {} bins is asked for without a place for it", ask->bins);
  require(outputs.log_sum_exp != nullptr || (!ask->of_tiles() && ask->rows.empty()),
          "attention: key_mass, pooled and row_weights need a place for log_sum_exp");
  if (ask->key_mass != nullptr) {
    std::vector<std::pair<std::int32_t, std::int32_t>> keys;
    for (const Span& s : problem.sequences) keys.emplace_back(s.key_begin, s.key_count);
    check_disjoint(operation, std::move(keys), "key");
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

void check_forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs) {
  check_problem(problem);
  check_scored(problem, inputs);
  check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
  check_rows("out", outputs.out, inputs.q.dtype, problem.heads, problem.d_value);
  check_statistics(problem, outputs);
}

void check_backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
                    const Gradients& gradients) {
  check_forward(problem, inputs, outputs);
  check_nothing_shared(operation, problem.sequences);
  require(problem.pages.size == 0, "attention: there is no backward pass through paged keys");
  const bool any_queries =
      std::any_of(problem.sequences.begin(), problem.sequences.end(), [](const Span& s) { return s.query_count > 0; });
  require(outputs.log_sum_exp != nullptr || !any_queries,
          "attention: the backward pass needs the log_sum_exp of the forward pass");
  const DType dtype = inputs.q.dtype;
  check_rows("d_out", d_out, dtype, problem.heads, problem.d_value);
  check_rows("dq", gradients.q, dtype, problem.heads, problem.d_key);
  check_rows("dk", gradients.k, dtype, problem.kv_heads, problem.d_key);
  check_rows("dv", gradients.v, dtype, problem.kv_heads, problem.d_value);
  check_gradient("a bias", gradients.bias, problem.bias.data != nullptr);
  check_gradient("a relative bias", gradients.relative, problem.relative.table != nullptr);
  check_gradient("ALiBi's slopes", gradients.alibi_slopes, problem.alibi_slopes != nullptr);
  check_gradient("sinks", gradients.sinks, problem.sinks != nullptr);
  check_gradient("a soft cap", gradients.soft_cap, problem.soft_cap > 0);
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
  require(log_sum_exp != nullptr, "attention: the weights need the log_sum_exp of the forward pass");
  check_places(operation, problem.sequences, problem.heads, sequence, head, places);
}

}  // namespace rapt::attention
