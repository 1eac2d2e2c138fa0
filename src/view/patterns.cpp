#include "view/patterns.h"

#include <algorithm>
#include <cmath>

namespace rapt::view {
namespace {

constexpr float named_from = 0.4f;
constexpr float broad_from = 0.8f;

std::span<const float> row_of(const HeadWeights& head, int query) {
  const auto keys = static_cast<std::size_t>(head.keys);
  return head.weights.subspan(static_cast<std::size_t>(query) * keys, keys);
}

/// Mean over queries in [begin, end) of the weight on key_of(query); 0 over no queries.
template <typename KeyOf>
float mean_weight(const HeadWeights& head, int begin, int end, KeyOf key_of) {
  double sum = 0;
  for (int query = begin; query < end; ++query) sum += row_of(head, query)[static_cast<std::size_t>(key_of(query))];
  return end > begin ? static_cast<float>(sum / (end - begin)) : 0.0f;
}

/// Mean over the queries of entropy / log(visible keys); rows with one visible key say nothing and are left out.
float mean_relative_entropy(const HeadWeights& head) {
  double sum = 0;
  int rows = 0;
  for (int query = 0; query < head.queries; ++query) {
    const int visible = head.causal ? std::min(query + 1, head.keys) : head.keys;
    if (visible < 2) continue;
    double entropy = 0;
    for (const float weight : row_of(head, query)) {
      if (weight > 0) entropy -= weight * std::log(static_cast<double>(weight));
    }
    sum += entropy / std::log(visible);
    ++rows;
  }
  return rows > 0 ? static_cast<float>(std::clamp(sum / rows, 0.0, 1.0)) : 0.0f;
}

/// The key of the text with the largest weight, or -1 when there is none.
int strongest_key(const HeadWeights& head, int query) {
  const auto row = row_of(head, query);
  int best = -1;
  for (int key = 0; key < head.keys; ++key) {
    const auto k = static_cast<std::size_t>(key);
    if (!head.special_keys[k] && (best < 0 || row[k] > row[static_cast<std::size_t>(best)])) best = key;
  }
  return best;
}

float alignment(const HeadWeights& head) {
  double largest = 0;
  int queries = 0;
  std::vector<bool> chosen(static_cast<std::size_t>(head.keys));
  for (int query = 0; query < head.queries; ++query) {
    if (head.special_queries[static_cast<std::size_t>(query)]) continue;
    const int key = strongest_key(head, query);
    if (key < 0) return 0;
    largest += row_of(head, query)[static_cast<std::size_t>(key)];
    chosen[static_cast<std::size_t>(key)] = true;
    ++queries;
  }
  if (queries == 0) return 0;
  const auto text_keys = std::count(head.special_keys.begin(), head.special_keys.end(), false);
  const auto covered = std::count(chosen.begin(), chosen.end(), true);
  return static_cast<float>(largest / queries * static_cast<double>(covered) /
                            static_cast<double>(std::min<std::ptrdiff_t>(text_keys, queries)));
}

void measure_positions(const HeadWeights& head, Patterns& patterns) {
  const int rows = std::min(head.queries, head.keys);
  patterns.previous = mean_weight(head, 1, rows, [](int query) { return query - 1; });
  patterns.same = mean_weight(head, 1, rows, [](int query) { return query; });
  patterns.first = mean_weight(head, 2, rows, [](int) { return 0; });
  if (head.causal) return;
  patterns.next = mean_weight(head, 0, rows - 1, [](int query) { return query + 1; });
  patterns.last = mean_weight(head, 0, rows - 2, [&](int) { return head.keys - 1; });
}

}  // namespace

Patterns measure(const HeadWeights& head) {
  Patterns patterns{.broad = mean_relative_entropy(head)};
  if (head.kind == AttentionKind::cross) {
    patterns.first = mean_weight(head, 0, head.queries, [](int) { return 0; });
    patterns.last = mean_weight(head, 0, head.queries, [&](int) { return head.keys - 1; });
    patterns.aligned = alignment(head);
  } else {
    measure_positions(head, patterns);
  }
  return patterns;
}

NamedPattern name_of(const Patterns& patterns) {
  const NamedPattern candidates[] = {{"previous", patterns.previous}, {"same", patterns.same},
                                     {"next", patterns.next},         {"first", patterns.first},
                                     {"last", patterns.last},         {"aligned", patterns.aligned}};
  const auto strongest = *std::max_element(std::begin(candidates), std::end(candidates),
                                           [](const auto& a, const auto& b) { return a.score < b.score; });
  if (strongest.score >= named_from) return strongest;
  if (patterns.broad >= broad_from) return {"broad", patterns.broad};
  return {"mixed", strongest.score};
}

}  // namespace rapt::view
