/// Sums of weights by bins of queries and keys. Included by *.isa.cpp only; everything has internal linkage.
#pragma once

#include "attention/lanes.h"

namespace rapt::attention::RAPT_ISA {
namespace {

/// An item's share of the pooled maps, Item::map: of each of its heads [bins, bins that its keys touch].
struct PooledMap {
  const Item& item;
  const long bins;
  const long first = item.keys > 0 && bins > 0 ? item.first_key* bins / item.key_count : 0;
  const long touched = item.keys > 0 && bins > 0
                           ? (long{item.first_key} + item.keys - 1) * bins / item.key_count - first + 1
                           : 0;

  PooledMap(const Call& call, const Item& i) : item(i), bins(call.bins) {}

  void begin() const { clear(item.map, item.heads * bins * touched); }
  /// `head` counts within the item.
  RAPT_INLINE void add(long head, long query_bin, long key_bin, double sum) const {
    item.map[(head * bins + query_bin) * touched + key_bin - first] += static_cast<float>(sum);
  }

  /// Calls function(bin, begin, end) for each part of [begin, end) that lies in one bin of `count` queries or keys; for
  /// the whole when there are no bins.
  template <typename Function>
  RAPT_INLINE void each_part(long begin, long end, long count, Function function) const {
    while (begin < end) {
      const long bin = begin * bins / count;
      const long next = bins > 0 ? at_most(end, ((bin + 1) * count + bins - 1) / bins) : end;
      function(bin, begin, next);
      begin = next;
    }
  }

  /// Adds sums of the rows [first_row, first_row + rows) of the item, one a lane of two vectors.
  template <typename S>
  void add_rows(long first_row, long rows, long key_bin, const Vector<S>* sums) const {
    constexpr int width = Simd<S>::width;
    S lane[2 * width];
    store(sums[0], lane);
    store(sums[1], lane + width);
    const long heads = item.heads;
    for (long head = 0; head < heads; ++head) {
      const long first_lane = (head + heads - first_row % heads) % heads;
      if (first_lane >= rows) continue;
      const long query = item.first_query + (first_row + first_lane) / heads;
      const long end = query + (rows - first_lane + heads - 1) / heads;
      each_part(query, end, item.query_count, [&](long bin, long from, long to) {
        S total = 0;
        for (long q = from; q < to; ++q) total += lane[first_lane + (q - query) * heads];
        add(head, bin, key_bin, static_cast<double>(total));
      });
    }
  }
};

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
