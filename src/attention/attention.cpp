#include "attention/attention.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/kernels.h"

namespace rapt::attention {
namespace {

constexpr int most_width = 1024;

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{64}); }
};

// What is checked before any work starts.

void check_problem(const Problem& problem) {
  require(problem.heads > 0 && problem.kv_heads > 0 && problem.heads % problem.kv_heads == 0,
          "attention: {} query heads cannot share {} key-value heads evenly", problem.heads, problem.kv_heads);
  require(std::min(problem.d_key, problem.d_value) >= 1 && std::max(problem.d_key, problem.d_value) <= most_width,
          "attention: head widths d_key {} and d_value {} must lie in 1..{}", problem.d_key, problem.d_value,
          most_width);
  require(problem.dropout.probability >= 0 && problem.dropout.probability < 1,
          "attention: dropout probability {} must lie in [0, 1)", problem.dropout.probability);
  for (const Span& s : problem.sequences) {
    require(s.query_begin >= 0 && s.query_count >= 0 && s.key_begin >= 0 && s.key_count >= 0,
            "attention: sequence {} has a negative bound (queries {}+{}, keys {}+{})", &s - problem.sequences.data(),
            s.query_begin, s.query_count, s.key_begin, s.key_count);
  }
}

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d) {
  require(rows.dtype == dtype, "attention: {} is {}, q is {}; all operands must have one type", name,
          name_of(rows.dtype), name_of(dtype));
  require(rows.stride >= std::int64_t{heads} * d, "attention: the stride {} of {} is less than {} heads of {}",
          rows.stride, name, heads, d);
}

void check_dtype(DType dtype) {
  require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64,
          "attention: operands must be f32, bf16 or f64, not {}", name_of(dtype));
}

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

void check_nothing_shared(std::span<const Span> sequences) {
  std::vector<std::pair<std::int32_t, std::int32_t>> queries, keys;
  for (const Span& s : sequences) {
    queries.emplace_back(s.query_begin, s.query_count);
    keys.emplace_back(s.key_begin, s.key_count);
  }
  check_disjoint(std::move(queries), "query");
  check_disjoint(std::move(keys), "key");
}

// From the public types to those of the inner loops.

Operand operand(const Rows& rows) {
  return {rows.data, rows.stride};
}

Call call_of(const Problem& problem, DType dtype) {
  const double kept = problem.dropout.kept();
  return {.dtype = dtype,
          .heads = problem.heads,
          .d_key = problem.d_key,
          .d_value = problem.d_value,
          .scale = problem.scale,
          .causal = problem.visibility.causal,
          .drop_below = problem.dropout.threshold(),
          .keep_scale = kept == 0 ? 0.0 : 1 / kept,
          .random_key = {problem.dropout.key.low, problem.dropout.key.high}};
}

/// Appends the items of one sequence, for query heads [head, head + heads) that share one key-value head; at most
/// `queries` of the sequence's queries an item.
void append_items(const Span& s, int head, int heads, int kv_head, std::int32_t queries, std::vector<Item>& items) {
  for (std::int32_t first = 0; first < s.query_count; first += queries) {
    items.push_back({.query_begin = s.query_begin,
                     .query_count = s.query_count,
                     .key_begin = s.key_begin,
                     .key_count = s.key_count,
                     .first_query = first,
                     .queries = std::min(queries, s.query_count - first),
                     .head = head,
                     .heads = heads,
                     .kv_head = kv_head});
  }
}

/// Queries an item takes so that packing its keys and values is small beside its products.
std::int32_t queries_per_item(int heads) {
  constexpr int rows = 128;
  return std::max(1, rows / heads);
}

/// Products of one key with one query and of one weight with one value, plus what an item costs at the least.
std::int64_t cost_of(const Problem& problem, const Item& item) {
  const std::int64_t rows = std::int64_t{item.queries} * item.heads;
  return (rows + 8) * (item.key_count + 8) * (problem.d_key + problem.d_value);
}

/// Where groups of neighbouring items begin, and the end: small items are grouped so that handing them to threads costs
/// little. Only who computes an item depends on this, never its result.
std::vector<std::size_t> group(const Context& ctx, const Problem& problem, const std::vector<Item>& items) {
  constexpr std::int64_t least = 1 << 18;  // about ten microseconds
  std::int64_t total = 0;
  for (const Item& item : items) total += cost_of(problem, item);
  const std::int64_t enough = std::max(least, total / (std::int64_t{16} * ctx.threads()));
  std::vector<std::size_t> groups{0};
  std::int64_t cost = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    cost += cost_of(problem, items[i]);
    if (cost >= enough || i + 1 == items.size()) {
      groups.push_back(i + 1);
      cost = 0;
    }
  }
  return groups;
}

void run(const Context& ctx, const Problem& problem, Kernel* kernel, const Call& call, const std::vector<Item>& items) {
  const std::vector<std::size_t> groups = group(ctx, problem, items);
  ctx.parallel_for(static_cast<std::int64_t>(groups.size()) - 1, [&](std::int64_t g) {
    const std::size_t first = groups[static_cast<std::size_t>(g)];
    const std::size_t end = groups[static_cast<std::size_t>(g) + 1];
    kernel(call, &items[first], static_cast<std::int64_t>(end - first));
  });
}

}  // namespace

void* thread_scratch(std::int64_t bytes) {
  thread_local std::unique_ptr<std::byte, AlignedDelete> memory;
  thread_local std::int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = 0;
    memory.reset(static_cast<std::byte*>(::operator new (static_cast<std::size_t>(bytes), std::align_val_t{64})));
    size = bytes;
  }
  return memory.get();
}

const Kernels& kernels_for(kernels::Isa isa) {
  static constexpr Kernels portable_kernels{portable::forward_items, portable::backward_items, portable::weights_items};
  static constexpr Kernels avx2_kernels{avx2::forward_items, avx2::backward_items, avx2::weights_items};
  static constexpr Kernels avx512_kernels{avx512::forward_items, avx512::backward_items, avx512::weights_items};
  switch (isa) {
    case kernels::Isa::avx512:
      return avx512_kernels;
    case kernels::Isa::avx2:
      return avx2_kernels;
    case kernels::Isa::portable:
      break;
  }
  return portable_kernels;
}

void forward(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out,
             void* log_sum_exp) {
  check_problem(problem);
  check_dtype(q.dtype);
  check_rows("q", q, q.dtype, problem.heads, problem.d_key);
  check_rows("k", k, q.dtype, problem.kv_heads, problem.d_key);
  check_rows("v", v, q.dtype, problem.kv_heads, problem.d_value);
  check_rows("out", out, q.dtype, problem.heads, problem.d_value);

  Call call = call_of(problem, q.dtype);
  call.q = operand(q);
  call.k = operand(k);
  call.v = operand(v);
  call.out = operand(out);
  call.log_sum_exp = log_sum_exp;
  const int shared = problem.heads / problem.kv_heads;
  std::vector<Item> items;
  items.reserve(problem.sequences.size() * static_cast<std::size_t>(problem.kv_heads));
  for (const Span& s : problem.sequences) {
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      append_items(s, kv_head * shared, shared, kv_head, queries_per_item(shared), items);
    }
  }
  run(ctx, problem, kernels.forward, call, items);
}

void backward(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out,
              const void* log_sum_exp, Rows d_out, Rows dq, Rows dk, Rows dv) {
  check_problem(problem);
  check_dtype(q.dtype);
  check_nothing_shared(problem.sequences);
  const bool any_queries =
      std::any_of(problem.sequences.begin(), problem.sequences.end(), [](const Span& s) { return s.query_count > 0; });
  require(log_sum_exp != nullptr || !any_queries,
          "attention: the backward pass needs the log_sum_exp of the forward pass");
  for (const auto& [name, rows] : {std::pair{"q", q}, {"dq", dq}}) {
    check_rows(name, rows, q.dtype, problem.heads, problem.d_key);
  }
  for (const auto& [name, rows] : {std::pair{"k", k}, {"dk", dk}}) {
    check_rows(name, rows, q.dtype, problem.kv_heads, problem.d_key);
  }
  for (const auto& [name, rows] : {std::pair{"v", v}, {"dv", dv}}) {
    check_rows(name, rows, q.dtype, problem.kv_heads, problem.d_value);
  }
  for (const auto& [name, rows] : {std::pair{"out", out}, {"d_out", d_out}}) {
    check_rows(name, rows, q.dtype, problem.heads, problem.d_value);
  }

  Call call = call_of(problem, q.dtype);
  call.q = operand(q);
  call.k = operand(k);
  call.v = operand(v);
  call.out = operand(out);
  call.log_sum_exp = const_cast<void*>(log_sum_exp);
  call.d_out = operand(d_out);
  call.dq = operand(dq);
  call.dk = operand(dk);
  call.dv = operand(dv);
  const int shared = problem.heads / problem.kv_heads;
  std::vector<Item> items;
  items.reserve(problem.sequences.size() * static_cast<std::size_t>(problem.kv_heads));
  for (const Span& s : problem.sequences) {
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      // One item even without queries: it clears the gradients of the keys.
      items.push_back({.query_begin = s.query_begin,
                       .query_count = s.query_count,
                       .key_begin = s.key_begin,
                       .key_count = s.key_count,
                       .first_query = 0,
                       .queries = s.query_count,
                       .head = kv_head * shared,
                       .heads = shared,
                       .kv_head = kv_head});
    }
  }
  run(ctx, problem, kernels.backward, call, items);
}

void weights(const Kernels& kernels, const Context& ctx, const Problem& problem, Rows q, Rows k,
             const void* log_sum_exp, int sequence, int head, std::span<float> weights) {
  check_problem(problem);
  check_dtype(q.dtype);
  check_rows("q", q, q.dtype, problem.heads, problem.d_key);
  check_rows("k", k, q.dtype, problem.kv_heads, problem.d_key);
  require(log_sum_exp != nullptr, "attention: the weights need the log_sum_exp of the forward pass");
  require(sequence >= 0 && static_cast<std::size_t>(sequence) < problem.sequences.size(),
          "attention: there is no sequence {} among {}", sequence, problem.sequences.size());
  require(head >= 0 && head < problem.heads, "attention: there is no head {} among {}", head, problem.heads);
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  require(weights.size() == static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
          "attention: {} places cannot take the weights of {} queries and {} keys", weights.size(), s.query_count,
          s.key_count);

  Call call = call_of(problem, q.dtype);
  call.q = operand(q);
  call.k = operand(k);
  call.log_sum_exp = const_cast<void*>(log_sum_exp);
  call.weights = weights.data();
  std::vector<Item> items;
  append_items(s, head, 1, head / (problem.heads / problem.kv_heads), queries_per_item(1), items);
  run(ctx, problem, kernels.weights, call, items);
}

void forward(const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out, void* log_sum_exp) {
  forward(kernels_for(kernels::isa()), ctx, problem, q, k, v, out, log_sum_exp);
}

void backward(const Context& ctx, const Problem& problem, Rows q, Rows k, Rows v, Rows out, const void* log_sum_exp,
              Rows d_out, Rows dq, Rows dk, Rows dv) {
  backward(kernels_for(kernels::isa()), ctx, problem, q, k, v, out, log_sum_exp, d_out, dq, dk, dv);
}

void weights(const Context& ctx, const Problem& problem, Rows q, Rows k, const void* log_sum_exp, int sequence,
             int head, std::span<float> weights) {
  attention::weights(kernels_for(kernels::isa()), ctx, problem, q, k, log_sum_exp, sequence, head, weights);
}

}  // namespace rapt::attention
