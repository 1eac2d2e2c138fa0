#include "attention/statistics.h"

#include <algorithm>

namespace rapt::attention {
namespace {

/// The columns [first, first + count) of a pooled map that an item's keys touch.
struct Columns {
  std::int64_t first = 0;
  std::int64_t count = 0;
};
Columns columns_of(const Item& item, std::int64_t bins) {
  if (item.keys == 0 || bins == 0) return {};
  const auto bin = [&](std::int64_t key) { return key * bins / item.key_count; };
  const std::int64_t first = bin(item.first_key);
  return {first, bin(std::int64_t{item.first_key} + item.keys - 1) - first + 1};
}

/// Adds what items left to the pooled maps, in the order of the items.
void add_pooled(const Problem& problem, const Statistics& ask, const std::vector<Item>& items) {
  const std::int64_t size = std::int64_t{ask.bins} * ask.bins;
  std::fill_n(ask.pooled, static_cast<std::int64_t>(problem.sequences.size()) * problem.heads * size, 0.0f);
  for (const Item& item : items) {
    const Columns columns = columns_of(item, ask.bins);
    float* const map = ask.pooled + (std::int64_t{item.sequence} * problem.heads + item.head) * size;
    const float* const from = static_cast<const float*>(item.partial);
    for (std::int64_t r = 0; r < ask.bins; ++r) {
      for (std::int64_t c = 0; c < columns.count; ++c) {
        map[r * ask.bins + columns.first + c] += from[r * columns.count + c];
      }
    }
  }
}

/// key_mass and pooled maps: items own keys, as in the backward pass.
void collect_tiles(const Kernels& kernels, const Items& make, Call call, const Statistics& ask) {
  const Problem& problem = make.problem();
  call.key_mass = ask.key_mass;
  call.bins = ask.bins;
  std::vector<Item> items;
  std::int64_t size = 0;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    for (int head = 0; head < problem.heads; ++head) {
      for (const Item& item : cut_into_shares(make.of_head(i, head, 0, problem.sequences[i].query_count))) {
        items.push_back(item);
        size += ask.bins * columns_of(item, ask.bins).count;
      }
    }
  }
  std::vector<float> memory(static_cast<std::size_t>(size));
  float* place = memory.data();
  for (Item& item : items) {
    item.partial = place;
    place += ask.bins * columns_of(item, ask.bins).count;
  }
  make.run(kernels.tile_statistics, call, items);
  if (ask.bins > 0) add_pooled(problem, ask, items);
}

/// Whole rows of weights.
void collect_rows(const Kernels& kernels, const Items& make, const Call& call, const Statistics& ask) {
  const Problem& problem = make.problem();
  std::vector<Item> items;
  float* place = ask.row_weights;
  for (const std::int32_t row : ask.rows) {
    const std::size_t sequence = sequence_of_row(problem, row);
    for (int head = 0; head < problem.heads; ++head) {
      Item item = make.of_head(sequence, head, row - problem.sequences[sequence].query_begin, 1);
      item.partial = place;
      items.push_back(item);
      place += ask.row_stride;
    }
  }
  make.run(kernels.weights, call, items);
}

}  // namespace

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

void collect_statistics(const Kernels& kernels, const Items& make, const Call& call, const Statistics& ask) {
  if (ask.of_tiles()) collect_tiles(kernels, make, call, ask);
  if (!ask.rows.empty()) collect_rows(kernels, make, call, ask);
}

void write_weights(Kernel* kernel, const Items& make, const Call& call, int sequence, int head, float* weights) {
  std::vector<Item> items;
  const Span& s = make.problem().sequences[static_cast<std::size_t>(sequence)];
  constexpr std::int32_t queries = 64;
  for (std::int32_t first = 0; first < s.query_count; first += queries) {
    Item item = make.of_head(static_cast<std::size_t>(sequence), head, first, std::min(queries, s.query_count - first));
    item.partial = weights + std::int64_t{first} * s.key_count;
    items.push_back(item);
  }
  make.run(kernel, call, items);
}

std::size_t sequence_of_row(const Problem& problem, std::int32_t row) {
  const auto found = std::ranges::find_if(
      problem.sequences, [row](const Span& s) { return row >= s.query_begin && row - s.query_begin < s.query_count; });
  return static_cast<std::size_t>(found - problem.sequences.begin());
}

}  // namespace rapt::attention
