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

/// key_mass and pooled maps: items own keys, as in the backward pass.
void collect_tiles(Kernel* kernel, const Items& make, Call call, const Statistics& ask) {
  const Problem& problem = make.problem();
  call.key_mass = ask.key_mass;
  call.bins = ask.bins;
  std::vector<Item> items;
  for (std::size_t i = 0; i < problem.sequences.size(); ++i) {
    for (int head = 0; head < problem.heads; ++head) {
      for (const Item& item : cut_into_shares(make.of_head(i, head, 0, problem.sequences[i].query_count))) {
        items.push_back(item);
      }
    }
  }
  PooledMaps maps(problem, ask.bins, ask.pooled);
  maps.give_places(items);
  make.run(kernel, call, items);
  maps.collect(items);
}

/// Whole rows of weights.
void collect_rows(Kernel* kernel, const Items& make, const Call& call, const Statistics& ask) {
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
  make.run(kernel, call, items);
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

void collect_statistics(const WeightKernels& kernels, const Items& make, const Call& call, const Statistics& ask) {
  if (ask.of_tiles()) collect_tiles(kernels.tile_statistics, make, call, ask);
  if (!ask.rows.empty()) collect_rows(kernels.weights, make, call, ask);
}

PooledMaps::PooledMaps(const Problem& problem, int bins, float* maps) : problem_(problem), bins_(bins), maps_(maps) {
  std::fill_n(maps, static_cast<std::int64_t>(problem.sequences.size()) * problem.heads * bins * bins, 0.0f);
}

void PooledMaps::give_places(std::vector<Item>& items) {
  if (bins_ == 0) return;
  std::int64_t size = 0;
  for (const Item& item : items) size += std::int64_t{item.heads} * bins_ * columns_of(item, bins_).count;
  shares_.resize(static_cast<std::size_t>(size));
  float* place = shares_.data();
  for (Item& item : items) {
    item.map = place;
    place += std::int64_t{item.heads} * bins_ * columns_of(item, bins_).count;
  }
}

void PooledMaps::collect(const std::vector<Item>& items) const {
  if (bins_ == 0) return;
  for (const Item& item : items) {
    const Columns columns = columns_of(item, bins_);
    float* const map = maps_ + (std::int64_t{item.sequence} * problem_.heads + item.head) * bins_ * bins_;
    for (std::int64_t row = 0; row < std::int64_t{item.heads} * bins_; ++row) {
      for (std::int64_t c = 0; c < columns.count; ++c) {
        map[row * bins_ + columns.first + c] += item.map[row * columns.count + c];
      }
    }
  }
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
