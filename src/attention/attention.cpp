#include "rapt/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "attention/check.h"
#include "attention/kernels.h"
#include "attention/terms.h"
#include "core/error.h"
#include "core/parallel.h"

namespace rapt::attention {
namespace {

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{64}); }
};
using AlignedMemory = std::unique_ptr<std::byte, AlignedDelete>;

AlignedMemory aligned_memory(std::int64_t bytes) {
  return AlignedMemory(static_cast<std::byte*>(
      ::operator new (static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)), std::align_val_t{64})));
}

// Visibility, as the kernels ask for it.

Span span_of(const Item& item) {
  return {item.query_begin, item.query_count, item.key_begin, item.key_count};
}
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

// From the public types to those of the inner loops.

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

// Work items. How queries are cut into items decides who computes them, never what comes out.

class Items {
 public:
  /// observed: rows are asked for statistics, which tiles give.
  Items(const Kernels& kernels, const Problem& problem, DType dtype, int threads, bool observed = false)
      : problem_(problem),
        observed_(observed),
        shared_(problem.heads / problem.kv_heads),
        group_(dtype == DType::f64 ? kernels.group_rows / 2 : kernels.group_rows),
        threads_(threads) {}

  /// All keys and the queries [first, first + count) of one sequence, for the heads that share kv_head.
  Item item(std::size_t sequence, int kv_head, std::int32_t first, std::int32_t count) const {
    const Span& s = problem_.sequences[sequence];
    return {.sequence = static_cast<std::int32_t>(sequence),
            .query_begin = s.query_begin,
            .query_count = s.query_count,
            .key_begin = s.key_begin,
            .key_count = s.key_count,
            .first_query = first,
            .queries = count,
            .first_key = 0,
            .keys = s.key_count,
            .head = kv_head * shared_,
            .heads = shared_,
            .kv_head = kv_head};
  }
  /// The same for one query head.
  Item of_head(std::size_t sequence, int head, std::int32_t first, std::int32_t count) const {
    Item one = item(sequence, head / shared_, first, count);
    one.head = head;
    one.heads = 1;
    return one;
  }
  Item whole(std::size_t sequence, int kv_head) const {
    return item(sequence, kv_head, 0, problem_.sequences[sequence].query_count);
  }

  /// Items of one sequence, the ones that see most under a causal pattern first, so that threads end together.
  void cut_queries(std::size_t sequence, std::vector<Item>& items) const {
    const Span& s = problem_.sequences[sequence];
    const std::int32_t step = queries_per_item(s);
    for (int kv_head = 0; kv_head < problem_.kv_heads; ++kv_head) {
      for (std::int32_t end = s.query_count; end > 0;) {
        const std::int32_t first = (end - 1) / step * step;
        items.push_back(item(sequence, kv_head, first, end - first));
        end = first;
      }
    }
  }

  /// Rows of few queries are read by the kernel for decoding. A rule about one sequence alone.
  bool few(std::size_t sequence) const {
    return problem_.sequences[sequence].query_count * shared_ <= most_few && !problem_.dropout.active() && !observed_;
  }
  static constexpr int most_few = 8;

  int group() const { return group_; }

 private:
  /// Many queries an item, so that packing keys and values is small beside the products, but no more than the second
  /// level cache holds, and enough items for all threads.
  std::int32_t queries_per_item(const Span& s) const {
    constexpr std::int64_t cached = 65536;  // numbers
    const std::int64_t fitting = cached / (problem_.d_key + problem_.d_value);
    const std::int64_t rows = std::int64_t{s.query_count} * shared_;
    const std::int64_t units = static_cast<std::int64_t>(problem_.sequences.size()) * problem_.kv_heads;
    const std::int64_t wanted = (std::int64_t{8} * threads_ + units - 1) / units;  // items a unit
    const std::int64_t most = std::min({fitting, std::int64_t{256}, (rows + wanted - 1) / wanted});
    const std::int64_t groups = std::max<std::int64_t>(1, most / group_);
    return static_cast<std::int32_t>(std::max<std::int64_t>(1, groups * group_ / shared_));
  }

  const Problem& problem_;
  bool observed_;
  int shared_;
  int group_;
  int threads_;
};

/// Products of one key with one query and of one weight with one value, plus what an item costs at the least.
std::int64_t cost_of(const Problem& problem, const Item& item) {
  const std::int64_t rows = std::int64_t{item.queries} * item.heads;
  return (rows + 8) * (item.keys + 8) * (problem.d_key + problem.d_value);
}

/// Where groups of neighbouring items begin, and the end: small items are grouped so that handing them to threads costs
/// little.
std::vector<std::size_t> group(const Problem& problem, const std::vector<Item>& items, int threads) {
  constexpr std::int64_t least = 1 << 18;  // about ten microseconds
  std::int64_t total = 0;
  for (const Item& item : items) total += cost_of(problem, item);
  const std::int64_t enough = std::max(least, total / (std::int64_t{64} * threads));
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

void run(int threads, const Problem& problem, Kernel* kernel, const Call& call, const std::vector<Item>& items) {
  const std::vector<std::size_t> groups = group(problem, items, threads);
  parallel_for(threads, static_cast<std::int64_t>(groups.size()) - 1, [&](std::int64_t g) {
    const std::size_t first = groups[static_cast<std::size_t>(g)];
    const std::size_t end = groups[static_cast<std::size_t>(g) + 1];
    kernel(call, &items[first], static_cast<std::int64_t>(end - first));
  });
}

int threads_or_all(int threads) {
  return threads > 0 ? threads : omp_get_max_threads();
}

// Decoding: parts of the keys, then their merge.

/// Keys of a part: a constant, so that results do not depend on the threads.
constexpr std::int32_t part_keys = 512;

void decode(const Kernels& kernels, const Problem& problem, const Call& call, const Items& make,
            const std::vector<std::size_t>& sequences, int threads) {
  std::vector<Item> parts, merges;
  std::vector<std::int64_t> places;  // of each part's memory, in numbers
  std::int64_t size = 0;
  for (const std::size_t sequence : sequences) {
    const Span& s = problem.sequences[sequence];
    const std::int64_t part_size = std::int64_t{s.query_count} * problem.heads * (2 + problem.d_value);
    Item merge = make.whole(sequence, 0);
    merge.keys = std::max(1, (s.key_count + part_keys - 1) / part_keys);
    places.push_back(size);
    for (std::int32_t i = 0; i < merge.keys; ++i) {
      Item part = make.whole(sequence, 0);
      part.first_key = i * part_keys;
      part.keys = std::min(part_keys, s.key_count - part.first_key);
      part.partial = reinterpret_cast<void*>(size);  // a place, until there is memory
      parts.push_back(part);
      size += part_size;
    }
    merges.push_back(merge);
  }
  const std::int64_t bytes = size_of_sum(call.dtype);
  const AlignedMemory memory = aligned_memory(size * bytes);
  for (Item& part : parts) part.partial = memory.get() + reinterpret_cast<std::int64_t>(part.partial) * bytes;
  for (std::size_t i = 0; i < merges.size(); ++i) merges[i].partial = memory.get() + places[i] * bytes;
  run(threads, problem, kernels.decode, call, parts);
  run(threads, problem, kernels.merge, call, merges);
}

// The backward pass: keys of a unit (a sequence and a key-value head) are cut into shares, each with its own sum of dq.

/// Shares of a unit: enough to keep many threads busy with one head. A function of the sequence alone, so that results
/// do not depend on the threads.
std::int32_t shares_of(const Span& s) {
  constexpr std::int32_t least_keys = 256;
  constexpr std::int32_t most = 16;
  return std::clamp((s.key_count + least_keys - 1) / least_keys, 1, most);
}

/// Cuts a unit into items of about equally many tiles of keys.
void cut_keys(const Item& unit, std::int32_t shares, std::int64_t share_bytes, std::byte* memory,
              std::vector<Item>& items) {
  constexpr std::int32_t tile_keys = 128;
  const std::int32_t tiles = (unit.key_count + tile_keys - 1) / tile_keys;
  for (std::int32_t i = 0; i < shares; ++i) {
    Item item = unit;
    item.first_key = static_cast<std::int32_t>(std::int64_t{tiles} * i / shares) * tile_keys;
    const auto end = static_cast<std::int32_t>(std::int64_t{tiles} * (i + 1) / shares) * tile_keys;
    item.keys = std::min(end, unit.key_count) - item.first_key;
    item.partial = memory + i * share_bytes;
    items.push_back(item);
  }
}

/// Runs items that leave gradients of added scores besides those of k and v.
void run_backward(const Kernels& kernels, const Problem& problem, const Call& call, std::vector<Item>& items,
                  TermGradients& terms, int threads) {
  std::vector<std::byte> memory;
  terms.give_places(items, memory);
  std::map<std::int64_t, std::vector<Item>> rounds;
  for (const Item& item : items) rounds[terms.round_of(item)].push_back(item);
  for (const auto& [number, round] : rounds) run(threads, problem, kernels.backward, call, round);
  terms.collect(items);
}

void backward_of_long(const Kernels& kernels, const Problem& problem, Call& call, const Items& make,
                      const std::vector<Item>& units, TermGradients& terms, int threads) {
  // Units are done several at a time: enough for all threads, few enough for the memory that shares take.
  for (std::size_t begin = 0; begin < units.size();) {
    const Span span = span_of(units[begin]);
    const std::int32_t shares = shares_of(span);
    const std::int64_t rows = std::int64_t{units[begin].queries} * units[begin].heads;
    const std::int64_t padded = (rows + make.group() - 1) / make.group() * make.group();
    const std::int64_t share_bytes = padded * problem.d_key * size_of_sum(call.dtype);
    std::size_t end = begin;
    std::vector<Item> items, sums;
    const auto at_once = static_cast<std::size_t>(std::max(1, 4 * threads / shares));
    while (end < units.size() && end - begin < at_once && units[end].key_count == units[begin].key_count &&
           units[end].queries == units[begin].queries) {
      ++end;
    }
    const AlignedMemory memory = aligned_memory(static_cast<std::int64_t>(end - begin) * shares * share_bytes);
    for (std::size_t i = begin; i < end; ++i) {
      std::byte* const place = memory.get() + static_cast<std::int64_t>(i - begin) * shares * share_bytes;
      cut_keys(units[i], shares, share_bytes, place, items);
      sums.push_back(units[i]);
      sums.back().partial = place;
    }
    call.shares = shares;
    run_backward(kernels, problem, call, items, terms, threads);
    run(threads, problem, kernels.add_shares, call, sums);
    begin = end;
  }
}

// Statistics.

RowStatistics row_statistics(const Statistics* ask) {
  if (ask == nullptr || !ask->of_rows()) return {};
  return {.any = true,
          .maximum = ask->maximum,
          .maximum_key = ask->maximum_key,
          .entropy = ask->entropy,
          .mean_distance = ask->mean_distance,
          .mass_on_first = ask->mass_on_first,
          .mass_on_previous = ask->mass_on_previous,
          .mass_on_same = ask->mass_on_same,
          .top = ask->top,
          .top_keys = ask->top_keys,
          .top_weights = ask->top_weights};
}

/// key_mass and pooled maps: items own keys, as in the backward pass.
void collect_tiles(const Kernels& kernels, const Problem& problem, Call call, const Items& make, const Statistics& ask,
                   int threads) {
  call.key_mass = ask.key_mass;
  call.bins = ask.bins;
  std::vector<Item> items;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    for (int head = 0; head < problem.heads; ++head) {
      const Span& s = problem.sequences[i];
      cut_keys(make.of_head(i, head, 0, s.query_count), shares_of(s), 0, nullptr, items);
    }
  }
  // The columns of the pooled map that an item's keys touch.
  const auto bins_of = [&](const Item& item) {
    const auto bin = [&](std::int64_t key) { return key * ask.bins / item.key_count; };
    const std::int64_t first = item.keys > 0 ? bin(item.first_key) : 0;
    return std::pair{first, item.keys > 0 ? bin(std::int64_t{item.first_key} + item.keys - 1) - first + 1 : 0};
  };
  std::int64_t size = 0;
  for (const Item& item : items) size += ask.bins > 0 ? ask.bins * bins_of(item).second : 0;
  std::vector<float> memory(static_cast<std::size_t>(size));
  float* place = memory.data();
  for (Item& item : items) {
    item.partial = place;
    place += ask.bins > 0 ? ask.bins * bins_of(item).second : 0;
  }
  run(threads, problem, kernels.tile_statistics, call, items);
  if (ask.bins == 0) return;
  const auto maps = static_cast<std::int64_t>(problem.sequences.size()) * problem.heads;
  std::fill_n(ask.pooled, maps * ask.bins * ask.bins, 0.0f);
  for (const Item& item : items) {
    const auto [first, touched] = bins_of(item);
    float* const map = ask.pooled + (std::int64_t{item.sequence} * problem.heads + item.head) * ask.bins * ask.bins;
    const float* const from = static_cast<const float*>(item.partial);
    for (std::int64_t r = 0; r < ask.bins; ++r) {
      for (std::int64_t c = 0; c < touched; ++c) map[r * ask.bins + first + c] += from[r * touched + c];
    }
  }
}

/// Whole rows of weights.
void collect_rows(const Kernels& kernels, const Problem& problem, const Call& call, const Items& make,
                  const Statistics& ask, int threads) {
  std::vector<Item> items;
  for (std::size_t i = 0; i < ask.rows.size(); ++i) {
    const auto found = std::ranges::find_if(problem.sequences, [&](const Span& s) {
      return ask.rows[i] >= s.query_begin && ask.rows[i] - s.query_begin < s.query_count;
    });
    const auto sequence = static_cast<std::size_t>(found - problem.sequences.begin());
    for (int head = 0; head < problem.heads; ++head) {
      Item item = make.of_head(sequence, head, ask.rows[i] - found->query_begin, 1);
      item.partial = ask.row_weights + (static_cast<std::int64_t>(i) * problem.heads + head) * ask.row_stride;
      items.push_back(item);
    }
  }
  run(threads, problem, kernels.weights, call, items);
}

}  // namespace

void* thread_scratch(std::int64_t bytes) {
  thread_local AlignedMemory memory;
  thread_local std::int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = 0;
    memory = aligned_memory(bytes);
    size = bytes;
  }
  return memory.get();
}

#define RAPT_KERNELS_OF(isa, rows)                                                                  \
  {                                                                                                 \
    isa::forward_items, isa::decode_items, isa::merge_items, isa::delta_items, isa::backward_items, \
        isa::add_shares_items, isa::weights_items, isa::tile_statistics_items, rows                 \
  }
const Kernels& kernels_for(kernels::Isa isa) {
  static constexpr Kernels portable_kernels RAPT_KERNELS_OF(portable, 8);
  static constexpr Kernels avx2_kernels RAPT_KERNELS_OF(avx2, 16);
  static constexpr Kernels avx512_kernels RAPT_KERNELS_OF(avx512, 32);
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
#undef RAPT_KERNELS_OF

void forward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
             int threads) {
  check_forward(problem, inputs, outputs);
  const Terms terms(problem, inputs.q.dtype);
  Call call = call_of(problem, inputs, terms);
  call.out = operand(outputs.out);
  call.log_sum_exp = outputs.log_sum_exp;
  const int count = threads_or_all(threads);
  call.rows = row_statistics(outputs.statistics);
  const Items make(kernels, problem, inputs.q.dtype, count, call.rows.any);
  std::vector<Item> items;
  std::vector<std::size_t> few;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    if (make.few(i)) {
      few.push_back(i);
    } else {
      make.cut_queries(i, items);
    }
  }
  if (!items.empty()) run(count, problem, kernels.forward, call, items);
  if (!few.empty()) decode(kernels, problem, call, make, few, count);
  const Statistics* const ask = outputs.statistics;
  if (ask != nullptr && ask->of_tiles()) collect_tiles(kernels, problem, call, make, *ask, count);
  if (ask != nullptr && !ask->rows.empty()) collect_rows(kernels, problem, call, make, *ask, count);
}

void backward(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
              const Rows& d_out, const Gradients& gradients, int threads) {
  check_backward(problem, inputs, outputs, d_out, gradients);
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
  const int count = threads_or_all(threads);
  const Items make(kernels, problem, inputs.q.dtype, count);

  std::int64_t tokens = 0;
  std::vector<Item> pieces, small, large;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    const Span& s = problem.sequences[i];
    tokens = std::max(tokens, std::int64_t{s.query_begin} + s.query_count);
    make.cut_queries(i, pieces);
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      // An item even without queries: it clears the gradients of the keys.
      (shares_of(s) == 1 ? small : large).push_back(make.whole(i, kv_head));
    }
  }
  const AlignedMemory delta = aligned_memory(tokens * problem.heads * size_of_sum(call.dtype));
  call.delta = delta.get();
  run(count, problem, kernels.delta, call, pieces);
  if (!small.empty()) run_backward(kernels, problem, call, small, term_gradients, count);
  backward_of_long(kernels, problem, call, make, large, term_gradients, count);
  term_gradients.add_sinks(outputs.log_sum_exp, delta.get());
  term_gradients.write();
}

void weights(const Kernels& kernels, const Problem& problem, const Inputs& inputs, const void* log_sum_exp,
             int sequence, int head, std::span<float> weights, int threads) {
  check_weights(problem, inputs, log_sum_exp, sequence, head, static_cast<std::int64_t>(weights.size()));
  const Terms terms(problem, inputs.q.dtype);
  Call call = call_of(problem, inputs, terms);
  call.log_sum_exp = const_cast<void*>(log_sum_exp);
  const Items make(kernels, problem, inputs.q.dtype, 1);
  std::vector<Item> items;
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  constexpr std::int32_t queries = 64;
  for (std::int32_t first = 0; first < s.query_count; first += queries) {
    Item item = make.of_head(static_cast<std::size_t>(sequence), head, first, std::min(queries, s.query_count - first));
    item.partial = weights.data() + std::int64_t{first} * s.key_count;
    items.push_back(item);
  }
  run(threads_or_all(threads), problem, kernels.weights, call, items);
}

void forward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, int threads) {
  forward(kernels_for(kernels::isa()), problem, inputs, outputs, threads);
}

void backward(const Problem& problem, const Inputs& inputs, const Outputs& outputs, const Rows& d_out,
              const Gradients& gradients, int threads) {
  backward(kernels_for(kernels::isa()), problem, inputs, outputs, d_out, gradients, threads);
}

void merge(const Merge& sizes, std::span<const Outputs> parts, const Outputs& result) {
  check_merge(sizes, parts, result);
  const auto merge_as = [&](auto storage, auto sum) {
    using T = decltype(storage);
    using S = decltype(sum);
    const auto at = [&](const Outputs& o, std::int64_t row) {
      return static_cast<T*>(o.out.data) + row / sizes.heads * o.out.stride + row % sizes.heads * sizes.d_value;
    };
    for (std::int64_t row = 0; row < sizes.tokens * sizes.heads; ++row) {
      const auto log_sum = [&](const Outputs& o) {
        return static_cast<double>(static_cast<const S*>(o.log_sum_exp)[row]);
      };
      double highest = -std::numeric_limits<double>::infinity();
      for (const Outputs& part : parts) highest = std::max(highest, log_sum(part));
      double total = 0;
      std::vector<double> values(static_cast<std::size_t>(sizes.d_value));
      for (const Outputs& part : parts) {
        if (log_sum(part) == -std::numeric_limits<double>::infinity()) continue;
        const double share = std::exp(log_sum(part) - highest);
        total += share;
        const T* const from = at(part, row);
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] += share * static_cast<double>(static_cast<S>(from[i]));
      }
      T* const to = at(result, row);
      for (std::size_t i = 0; i < values.size(); ++i) to[i] = T(static_cast<S>(total > 0 ? values[i] / total : 0));
      if (result.log_sum_exp != nullptr)
        static_cast<S*>(result.log_sum_exp)[row] = static_cast<S>(highest + std::log(total));
    }
  };
  switch (result.out.dtype) {
    case DType::f64:
      return merge_as(double{}, double{});
    case DType::bf16:
      return merge_as(bf16{}, float{});
    default:
      return merge_as(float{}, float{});
  }
}

namespace {

/// What a person reads of a long list of positions or a large mask.
std::string shortened(std::string text) {
  constexpr std::size_t most = 200;
  return text.size() <= most ? text : text.substr(0, most) + "...";
}

}  // namespace

std::string explain(const Problem& problem, DType dtype) {
  check_problem(problem);
  const Kernels& kernels = kernels_for(kernels::isa());
  const Terms terms(problem, dtype);
  const Items make(kernels, problem, dtype, 1);
  std::size_t few = 0;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) few += make.few(i);
  std::string text = fmt::format("{} on {}, heads {} over {}, widths {} and {}, visibility {}", name_of(dtype),
                                 kernels::name_of(kernels::isa()), problem.heads, problem.kv_heads, problem.d_key,
                                 problem.d_value, shortened(problem.visibility.text()));
  const bool pairs = dtype == DType::bf16 && kernels::isa() == kernels::Isa::avx512;
  if (dtype == DType::bf16)
    text += pairs ? "; products of bf16 pairs" : "; bf16 widened to f32, for want of bf16 products";
  if (few < problem.sequences.size()) {
    text += fmt::format("; {} of {} sequences by tiles of {} rows x 128 keys", problem.sequences.size() - few,
                        problem.sequences.size(), make.group());
    if (problem.dropout.active()) text += " (dropout is drawn there only)";
  }
  if (few > 0) {
    text += fmt::format("; {} with at most {} rows a key-value head by rows, in parts of {} keys", few, Items::most_few,
                        part_keys);
  }
  text += terms.added().any ? "; scores get a pass of their own (scale <= 0, soft cap, bias, relative or ALiBi)"
                            : "; scores are only scaled";
  if (problem.sinks != nullptr) text += "; sinks join the sums at the end";
  if (problem.pages.size > 0) text += fmt::format("; keys in pages of {}", problem.pages.size);
  return text;
}

void weights(const Problem& problem, const Inputs& inputs, const void* log_sum_exp, int sequence, int head,
             std::span<float> places, int threads) {
  weights(kernels_for(kernels::isa()), problem, inputs, log_sum_exp, sequence, head, places, threads);
}

}  // namespace rapt::attention
