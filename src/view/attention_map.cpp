#include "view/attention_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace rapt::view {
namespace {

constexpr double scale_steps = 65535;
constexpr double weight_steps = 255;
/// Softmax in bfloat16 may round a weight up by this much.
constexpr float largest_probability = 1.0f + 1.0f / 128.0f;

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

/// How many neighbours share a row so that at most max_map_side rows remain.
int block_for(int count) {
  return std::max(1, (count + max_map_side - 1) / max_map_side);
}

int blocks(int count, int block) {
  return (count + block - 1) / block;
}

std::span<const float> head_of(const AttentionMap& map, int head) {
  const std::size_t size = index(map.queries) * index(map.keys);
  return std::span(map.weights).subspan(index(head) * size, size);
}

void check(const AttentionMap& map, std::size_t special_queries, std::size_t special_keys) {
  require(map.layer >= 0 && map.heads > 0 && map.queries > 0 && map.keys > 0,
          "{} attention of layer {} is [{} heads, {} queries, {} keys]; each must be at least 1", name_of(map.kind),
          map.layer, map.heads, map.queries, map.keys);
  const std::size_t expected = index(map.heads) * index(map.queries) * index(map.keys);
  require(map.weights.size() == expected,
          "{} attention of layer {} holds {} weights; [{} heads, {} queries, {} keys] needs {}", name_of(map.kind),
          map.layer, map.weights.size(), map.heads, map.queries, map.keys, expected);
  require(special_queries == index(map.queries) && special_keys == index(map.keys),
          "{} attention of layer {} is [{} queries, {} keys]; the sentence has {} and {} pieces", name_of(map.kind),
          map.layer, map.queries, map.keys, special_queries, special_keys);
  const auto bad = std::find_if(map.weights.begin(), map.weights.end(),
                                [](float weight) { return !(weight >= 0 && weight <= largest_probability); });
  require(bad == map.weights.end(), "{} attention of layer {} holds a weight {}; expected probabilities from 0 to 1",
          name_of(map.kind), map.layer, bad == map.weights.end() ? 0.0f : *bad);
}

/// Largest |row sum - 1| over all heads and queries.
double row_sum_error(const AttentionMap& map) {
  double error = 0;
  for (auto row = map.weights.begin(); row != map.weights.end(); row += map.keys) {
    error = std::max(error, std::abs(std::accumulate(row, row + map.keys, 0.0) - 1));
  }
  return error;
}

/// Whether no query gives any weight to a later key; only ever so when queries and keys are the same pieces.
bool looks_back_only(const AttentionMap& map) {
  if (map.kind != AttentionKind::decoder) return false;
  for (int head = 0; head < map.heads; ++head) {
    const auto weights = head_of(map, head);
    for (int query = 0; query < map.queries; ++query) {
      for (int key = query + 1; key < map.keys; ++key) {
        if (weights[index(query) * index(map.keys) + index(key)] != 0) return false;
      }
    }
  }
  return true;
}

/// [queries, keys] -> [rows, columns] of `encoded`.
std::vector<double> pooled(const EncodedMap& encoded, std::span<const float> weights) {
  std::vector<double> cells(index(encoded.rows) * index(encoded.columns));
  for (int query = 0; query < encoded.queries; ++query) {
    const int row = query / encoded.query_block;
    const int sharing = std::min(encoded.query_block, encoded.queries - row * encoded.query_block);
    for (int key = 0; key < encoded.keys; ++key) {
      const float weight = weights[index(query) * index(encoded.keys) + index(key)];
      cells[index(row) * index(encoded.columns) + index(key / encoded.key_block)] += weight / double(sharing);
    }
  }
  return cells;
}

/// Appends one row's scale and weights.
void quantise(std::span<const double> row, EncodedMap& encoded) {
  const double largest = std::min(1.0, *std::max_element(row.begin(), row.end()));
  const double steps = std::ceil(largest * scale_steps);
  encoded.scales.push_back(static_cast<std::uint16_t>(steps));
  for (const double cell : row) {
    const double share = steps > 0 ? std::min(1.0, cell * scale_steps / steps) : 0.0;
    encoded.weights.push_back(static_cast<std::uint8_t>(std::lround(share * weight_steps)));
  }
}

std::vector<float> mean_over_heads(const AttentionMap& map) {
  std::vector<float> mean(index(map.queries) * index(map.keys));
  for (int head = 0; head < map.heads; ++head) {
    const auto weights = head_of(map, head);
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += weights[i] / static_cast<float>(map.heads);
  }
  return mean;
}

}  // namespace

double EncodedMap::weight(int head, int row, int column) const {
  const std::size_t line = index(head) * index(rows) + index(row);
  return scales[line] / scale_steps * weights[line * index(columns) + index(column)] / weight_steps;
}

std::size_t EncodedMap::page_bytes() const {
  return (scales.size() * sizeof(std::uint16_t) + weights.size()) * 4 / 3;
}

EncodedMap encode(const AttentionMap& map, const std::vector<bool>& special_queries,
                  const std::vector<bool>& special_keys) {
  check(map, special_queries.size(), special_keys.size());
  const int query_block = block_for(map.queries);
  const int key_block = block_for(map.keys);
  EncodedMap encoded{.kind = map.kind,
                     .layer = map.layer,
                     .heads = map.heads,
                     .queries = map.queries,
                     .keys = map.keys,
                     .query_block = query_block,
                     .key_block = key_block,
                     .rows = blocks(map.queries, query_block),
                     .columns = blocks(map.keys, key_block),
                     .causal = looks_back_only(map),
                     .row_sum_error = row_sum_error(map)};
  const auto measured = [&](std::span<const float> weights) {
    return measure({map.kind, encoded.causal, map.queries, map.keys, weights, special_queries, special_keys});
  };
  for (int head = 0; head < map.heads; ++head) {
    const auto weights = head_of(map, head);
    encoded.patterns.push_back(measured(weights));
    const auto cells = pooled(encoded, weights);
    for (int row = 0; row < encoded.rows; ++row) {
      quantise(std::span(cells).subspan(index(row) * index(encoded.columns), index(encoded.columns)), encoded);
    }
  }
  encoded.mean_patterns = measured(mean_over_heads(map));
  return encoded;
}

}  // namespace rapt::view
