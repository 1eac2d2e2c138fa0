#include "rapt/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "attention/call.h"
#include "attention/check.h"
#include "attention/items.h"
#include "attention/linear.h"
#include "attention/statistics.h"
#include "core/aligned_memory.h"

namespace rapt::attention {
namespace {

/// Decoding: parts of the keys, each with its place in memory, then their merge.
void decode(const Kernels& kernels, const Items& make, const Call& call, const std::vector<std::size_t>& sequences) {
  // What a part leaves of each row: a maximum, a sum and weighted values.
  const std::int64_t bytes_of_query = std::int64_t{call.heads} * (2 + call.d_value) * size_of_sum(call.dtype);
  std::int64_t bytes = 0;
  for (const std::size_t sequence : sequences) {
    const Span& s = make.problem().sequences[sequence];
    bytes += parts_of(s) * s.query_count * bytes_of_query;
  }
  const AlignedMemory memory = aligned_memory(bytes);
  Parts parts{.place = memory.get()};
  for (const std::size_t sequence : sequences) {
    const Item whole = make.whole(sequence, 0);
    parts.add(whole, cut_into_parts(whole), whole.queries * bytes_of_query);
  }
  make.run(kernels.decode, call, parts.items, call.kv_heads);
  make.run(kernels.merge, call, parts.sums, call.kv_heads);
}

/// Runs items that leave gradients of added scores, and shares of pooled maps, besides the gradients of k and v.
void run_backward(const Kernels& kernels, const Items& make, const Call& call, std::vector<Item>& items,
                  TermGradients& terms, PooledMaps& maps) {
  std::vector<std::byte> memory;
  terms.give_places(items, memory);
  maps.give_places(items);
  std::map<std::int64_t, std::vector<Item>> rounds;
  for (const Item& item : items) rounds[terms.round_of(item)].push_back(item);
  for (const auto& [number, round] : rounds) make.run(kernels.backward, call, round);
  terms.collect(items);
  maps.collect(items);
}

/// The backward pass of units (a sequence and a key-value head) whose keys are cut into shares, each with its own sum
/// of dq.
void backward_of_long(const Kernels& kernels, const Items& make, const Call& call, const std::vector<Item>& units,
                      TermGradients& terms, PooledMaps& maps) {
  // Units are done several at a time: enough for all threads, few enough for the memory that shares take.
  AlignedMemory memory;
  std::int64_t size = 0;
  for (std::size_t begin = 0; begin < units.size();) {
    const Item& unit = units[begin];
    const std::int32_t shares = shares_of(span_of(unit));
    const std::int64_t rows = std::int64_t{unit.queries} * unit.heads;
    const std::int64_t padded = (rows + make.group_rows() - 1) / make.group_rows() * make.group_rows();
    const std::int64_t share_bytes = padded * call.d_key * size_of_sum(call.dtype);
    const auto at_once = static_cast<std::size_t>(std::max(1, 4 * make.threads() / shares));
    std::size_t end = begin;
    while (end < units.size() && end - begin < at_once && units[end].key_count == unit.key_count &&
           units[end].queries == unit.queries) {
      ++end;
    }
    if (const std::int64_t needed = static_cast<std::int64_t>(end - begin) * shares * share_bytes; needed > size) {
      memory = aligned_memory(needed);
      size = needed;
    }
    Parts parts{.place = memory.get()};
    for (; begin < end; ++begin) parts.add(units[begin], cut_into_shares(units[begin]), share_bytes);
    run_backward(kernels, make, call, parts.items, terms, maps);
    make.run(kernels.add_shares, call, parts.sums);
  }
}

}  // namespace

void forward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
             int threads) {
  check_forward(problem, inputs, outputs);
  if (problem.linear != nullptr) return linear::forward(kernels, problem, inputs, outputs, threads);
  const Terms terms(problem, inputs.q.dtype);
  Call call = call_of(problem, inputs, terms);
  call.out = operand(outputs.out);
  call.log_sum_exp = outputs.log_sum_exp;
  call.rows = row_statistics(outputs.statistics);
  const Items make(kernels, problem, inputs.q.dtype, threads, call.rows.any);
  std::vector<Item> items;
  std::vector<std::size_t> few;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    if (make.few(i)) {
      few.push_back(i);
    } else {
      make.cut_queries(i, items);
    }
  }
  make.run(kernels.forward, call, items);
  decode(kernels, make, call, few);
  if (outputs.statistics != nullptr) collect_statistics(kernels.of_weights, make, call, *outputs.statistics);
}

void backward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
              const Rows& d_out, const Gradients& gradients, int threads) {
  check_backward(problem, inputs, outputs, d_out, gradients);
  if (problem.linear != nullptr) return linear::backward(kernels, problem, inputs, d_out, gradients, threads);
  const Terms terms(problem, inputs.q.dtype);
  Call call = call_of(problem, inputs, terms);
  TermGradients term_gradients(problem, gradients, inputs.q.dtype, call.added);
  call.out = operand(outputs.out);
  call.log_sum_exp = outputs.log_sum_exp;
  call.d_out = operand(d_out);
  call.dq = operand(gradients.q);
  call.dk = operand(gradients.k);
  call.dv = operand(gradients.v);
  call.key_mass = gradients.key_mass;
  call.bins = gradients.bins;
  PooledMaps maps(problem, gradients.bins, gradients.pooled);
  const Items make(kernels, problem, inputs.q.dtype, threads);

  std::vector<Item> pieces, small, large;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    const Span& s = problem.sequences[i];
    make.cut_queries(i, pieces);
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      // An item even without queries: it clears the gradients of the keys.
      (shares_of(s) == 1 ? small : large).push_back(make.whole(i, kv_head));
    }
  }
  const AlignedMemory delta = memory_of_rows(problem, call.dtype);
  call.delta = delta.get();
  make.run(kernels.delta, call, pieces);
  run_backward(kernels, make, call, small, term_gradients, maps);
  backward_of_long(kernels, make, call, large, term_gradients, maps);
  term_gradients.add_sinks(outputs.log_sum_exp, delta.get());
  term_gradients.write();
}

void weights(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const void* log_sum_exp,
             int sequence, int head, std::span<float> weights, int threads) {
  check_weights(problem, inputs, log_sum_exp, sequence, head, weights.size());
  if (problem.linear != nullptr) {
    return linear::weights(kernels, problem, inputs, log_sum_exp, sequence, head, weights, threads);
  }
  const Terms terms(problem, inputs.q.dtype);
  Call call = call_of(problem, inputs, terms);
  call.log_sum_exp = const_cast<void*>(log_sum_exp);
  write_weights(kernels.of_weights.weights, Items(kernels, problem, inputs.q.dtype, threads), call, sequence, head,
                weights.data());
}

void forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, int threads) {
  forward(kernels_for(kernels::isa()), problem, inputs, outputs, threads);
}

void backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
              const Gradients& gradients, int threads) {
  backward(kernels_for(kernels::isa()), problem, inputs, outputs, d_out, gradients, threads);
}

void weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp, int sequence, int head,
             std::span<float> places, int threads) {
  weights(kernels_for(kernels::isa()), problem, inputs, log_sum_exp, sequence, head, places, threads);
}

namespace {

/// What a person reads of a long list of positions or a large mask.
std::string shortened(const std::string& text) {
  constexpr std::size_t most = 200;
  return text.size() <= most ? text : text.substr(0, most) + "...";
}

}  // namespace

std::string explain(const Problem& problem, DType dtype) {
  check_problem(problem);
  const Kernels& kernels = kernels_for(kernels::isa());
  std::string text = fmt::format("{} on {}, heads {} over {}, widths {} and {}, visibility {}", name_of(dtype),
                                 kernels::name_of(kernels::isa()), problem.heads, problem.kv_heads, problem.d_key,
                                 problem.d_value, shortened(problem.visibility.text()));
  if (problem.linear != nullptr) return text + linear::explain(problem);
  const Terms terms(problem, dtype);
  const Items make(kernels, problem, dtype, 1);
  std::size_t few = 0;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) few += make.few(i);
  const bool pairs = dtype == DType::bf16 && kernels::isa() == kernels::Isa::avx512;
  if (dtype == DType::bf16)
    text += pairs ? "; products of bf16 pairs" : "; bf16 widened to f32, for want of bf16 products";
  if (few < problem.sequences.size()) {
    text += fmt::format("; {} of {} sequences by tiles of {} rows x {} keys", problem.sequences.size() - few,
                        problem.sequences.size(), make.group_rows(), tile_keys);
    if (problem.dropout.active()) text += " (dropout is drawn there only)";
  }
  if (few > 0) {
    text += fmt::format("; {} with at most {} rows a key-value head by rows, in parts of 64 to 512 keys", few,
                        Items::most_few);
  }
  text += terms.added().any ? "; scores get a pass of their own (scale <= 0, soft cap, bias, relative or ALiBi)"
                            : "; scores are only scaled";
  if (problem.sinks != nullptr) text += "; sinks join the sums at the end";
  if (problem.pages.size > 0) text += fmt::format("; keys in pages of {}", problem.pages.size);
  return text;
}

}  // namespace rapt::attention
