#include "attention/items.h"

#include <algorithm>

#include "attention/call.h"
#include "core/parallel.h"

namespace rapt::attention {

Items::Items(const Kernels& kernels, const Problem& problem, DType dtype, int threads, bool observed)
    : problem_(problem),
      observed_(observed),
      shared_(problem.heads / problem.kv_heads),
      group_rows_(dtype == DType::f64 ? kernels.group_rows / 2 : kernels.group_rows),
      threads_(threads > 0 ? threads : omp_get_max_threads()) {}

Item Items::item(std::size_t sequence, int kv_head, std::int32_t first, std::int32_t count) const {
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

Item Items::whole(std::size_t sequence, int kv_head) const {
  return item(sequence, kv_head, 0, problem_.sequences[sequence].query_count);
}

Item Items::of_head(std::size_t sequence, int head, std::int32_t first, std::int32_t count) const {
  Item one = item(sequence, head / shared_, first, count);
  one.head = head;
  one.heads = 1;
  return one;
}

void Items::cut_queries(std::size_t sequence, std::vector<Item>& items) const {
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

/// Many queries an item, so that packing keys and values is small beside the products, but no more than the second
/// level cache holds, and enough items for all threads.
std::int32_t Items::queries_per_item(const Span& s) const {
  constexpr std::int64_t cached = 65536;  // numbers
  const std::int64_t fitting = cached / (problem_.d_key + problem_.d_value);
  const std::int64_t rows = std::int64_t{s.query_count} * shared_;
  const std::int64_t units = static_cast<std::int64_t>(problem_.sequences.size()) * problem_.kv_heads;
  const std::int64_t wanted = (std::int64_t{8} * threads_ + units - 1) / units;  // items a unit
  const std::int64_t most = std::min({fitting, std::int64_t{256}, (rows + wanted - 1) / wanted});
  const std::int64_t groups = std::max<std::int64_t>(1, most / group_rows_);
  return static_cast<std::int32_t>(std::max<std::int64_t>(1, groups * group_rows_ / shared_));
}

bool Items::few(std::size_t sequence) const {
  return problem_.sequences[sequence].query_count * shared_ <= most_few && !problem_.dropout.active() && !observed_;
}

/// Products of one key with one query and of one weight with one value, plus what an item costs at the least; a part to
/// add up counts as a key.
std::int64_t Items::cost_of(const Item& item) const {
  const std::int64_t rows = std::int64_t{item.queries} * item.heads;
  return (rows + 8) * (item.keys + item.parts + 7) * (problem_.d_key + problem_.d_value);
}

/// Where bundles of neighbouring items begin, and the end: small items are bundled so that handing them to threads
/// costs little.
std::vector<std::size_t> Items::bundle(const std::vector<Item>& items, int kv_heads) const {
  constexpr std::int64_t least = 1 << 18;  // about ten microseconds
  std::int64_t total = 0;
  for (const Item& item : items) total += cost_of(item) * kv_heads;
  const std::int64_t enough = std::max(least, total / (std::int64_t{64} * threads_));
  std::vector<std::size_t> begins{0};
  std::int64_t cost = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    cost += cost_of(items[i]) * kv_heads;
    if (cost >= enough || i + 1 == items.size()) {
      begins.push_back(i + 1);
      cost = 0;
    }
  }
  return begins;
}

void Items::run(Kernel* kernel, const Call& call, const std::vector<Item>& items, int kv_heads) const {
  const std::vector<std::size_t> begins = bundle(items, kv_heads);
  parallel_for(threads_, static_cast<std::int64_t>(begins.size()) - 1, [&](std::int64_t i) {
    const std::size_t first = begins[static_cast<std::size_t>(i)];
    const std::size_t end = begins[static_cast<std::size_t>(i) + 1];
    kernel(call, &items[first], static_cast<std::int64_t>(end - first));
  });
}

std::int32_t part_keys_of(const Span& s) {
  constexpr std::int32_t parts = 8;
  constexpr std::int32_t multiple = 16;  // keys that the kernel takes at a time
  return std::clamp((s.key_count / parts + multiple - 1) / multiple * multiple, 64, 512);
}

std::int64_t parts_of(const Span& s) {
  const std::int32_t part_keys = part_keys_of(s);
  return std::max(1, (s.key_count + part_keys - 1) / part_keys);
}

std::vector<Item> cut_into_parts(const Item& whole) {
  const std::int32_t part_keys = part_keys_of(span_of(whole));
  std::vector<Item> parts(static_cast<std::size_t>(parts_of(span_of(whole))), whole);
  std::int32_t key = 0;
  for (Item& part : parts) {
    part.first_key = key;
    part.keys = std::min(part_keys, whole.key_count - key);
    key += part_keys;
  }
  return parts;
}

std::int32_t shares_of(const Span& s) {
  constexpr std::int32_t least_keys = 256;
  constexpr std::int32_t most = 16;
  return std::clamp((s.key_count + least_keys - 1) / least_keys, 1, most);
}

std::vector<Item> cut_into_shares(const Item& whole) {
  const std::int32_t count = shares_of(span_of(whole));
  const std::int32_t tiles = (whole.key_count + tile_keys - 1) / tile_keys;
  const auto first_key = [&](std::int32_t share) {
    return std::min(static_cast<std::int32_t>(std::int64_t{tiles} * share / count) * tile_keys, whole.key_count);
  };
  std::vector<Item> shares;
  for (std::int32_t i = 0; i < count; ++i) {
    Item share = whole;
    share.first_key = first_key(i);
    share.keys = first_key(i + 1) - share.first_key;
    shares.push_back(share);
  }
  return shares;
}

void Parts::add(const Item& whole, const std::vector<Item>& cut, std::int64_t part_bytes) {
  Item sum = whole;
  sum.keys = 0;
  sum.parts = static_cast<std::int32_t>(cut.size());
  sum.partial = place;
  sums.push_back(sum);
  for (const Item& part : cut) {
    items.push_back(part);
    items.back().partial = place;
    place += part_bytes;
  }
}

}  // namespace rapt::attention
