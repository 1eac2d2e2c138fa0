#include "attention/call.h"

#include <algorithm>

namespace rapt::attention {
namespace {

// Visibility, as the kernels ask for it.

const Visibility& visibility_of(const void* visibility) {
  return *static_cast<const Visibility*>(visibility);
}
void ask_bounds(const void* visibility, const Item& item, std::int64_t first_query, std::int64_t last_query,
                std::int64_t* bounds) {
  const auto range =
      visibility_of(visibility)
          .bounds(span_of(item), static_cast<std::int32_t>(first_query), static_cast<std::int32_t>(last_query));
  bounds[0] = range.begin;
  bounds[1] = range.end;
}
int ask_classify(const void* visibility, const Item& item, std::int64_t first_query, std::int64_t last_query,
                 std::int64_t first_key, std::int64_t last_key) {
  return static_cast<int>(visibility_of(visibility)
                              .classify(span_of(item), static_cast<std::int32_t>(first_query),
                                        static_cast<std::int32_t>(last_query), static_cast<std::int32_t>(first_key),
                                        static_cast<std::int32_t>(last_key)));
}
std::uint64_t ask_bits(const void* visibility, const Item& item, std::int64_t query, std::int64_t first_key) {
  return visibility_of(visibility)
      .bits(span_of(item), static_cast<std::int32_t>(query), static_cast<std::int32_t>(first_key));
}

Pattern pattern_of(const Visibility& visibility) {
  if (visibility.is_full()) return {};
  return {.kind = visibility.is_causal() ? Pattern::causal : Pattern::general,
          .visibility = &visibility,
          .bounds = ask_bounds,
          .classify = ask_classify,
          .bits = ask_bits};
}

}  // namespace

Operand operand(const Rows& rows) {
  return {rows.data, rows.stride};
}

Call call_of(const Problem& problem, const Inputs& inputs, const Terms& terms) {
  const double kept = problem.dropout.kept();
  return {.dtype = inputs.q.dtype,
          .heads = problem.heads,
          .kv_heads = problem.kv_heads,
          .d_key = problem.d_key,
          .d_value = problem.d_value,
          .scale = problem.scale,
          .pattern = pattern_of(problem.visibility),
          .drop_below = problem.dropout.threshold(),
          .keep_scale = kept == 0 ? 0.0 : 1 / kept,
          .random_key = {problem.dropout.key.low, problem.dropout.key.high},
          .added = terms.added(),
          .page_size = problem.pages.size,
          .page_table = problem.pages.table.data(),
          .q = operand(inputs.q),
          .k = operand(inputs.k),
          .v = operand(inputs.v)};
}

std::int64_t size_of_sum(DType dtype) {
  return dtype == DType::f64 ? 8 : 4;
}

AlignedMemory memory_of_rows(const Problem& problem, DType dtype) {
  std::int64_t tokens = 0;
  for (const Span& s : problem.sequences) tokens = std::max(tokens, std::int64_t{s.query_begin} + s.query_count);
  return aligned_memory(tokens * problem.heads * size_of_sum(dtype));
}

Span span_of(const Item& item) {
  return {item.query_begin, item.query_count, item.key_begin, item.key_count};
}

}  // namespace rapt::attention
