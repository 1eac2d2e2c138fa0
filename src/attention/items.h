/// Cutting a call into work items and running them. How queries are cut decides who computes them, never what comes
/// out; how keys are cut is a function of the sequence alone.
#pragma once

#include <cstddef>
#include <vector>

#include "attention/kernels.h"

namespace rapt::attention {

class Items {
 public:
  /// threads: 0 for as many as the process may use. observed: rows are asked for statistics, which tiles give.
  Items(const Kernels& kernels, const Problem& problem, DType dtype, int threads, bool observed = false);

  const Problem& problem() const { return problem_; }
  int threads() const { return threads_; }
  /// Attention rows of a tile.
  int group_rows() const { return group_rows_; }

  /// All keys and queries of one sequence, for the query heads that share kv_head.
  Item whole(std::size_t sequence, int kv_head) const;
  /// All keys and the queries [first, first + count) of one sequence, for one query head.
  Item of_head(std::size_t sequence, int head, std::int32_t first, std::int32_t count) const;
  /// Adds the items of one sequence, the ones that see most under a causal pattern first, so that threads end together.
  void cut_queries(std::size_t sequence, std::vector<Item>& items) const;

  /// Rows of few queries are read by the kernel for decoding. A rule about one sequence alone.
  bool few(std::size_t sequence) const;
  static constexpr int most_few = 8;

  /// Runs the items on all threads. kv_heads: how many of them an item covers.
  void run(Kernel* kernel, const Call& call, const std::vector<Item>& items, int kv_heads = 1) const;

 private:
  Item item(std::size_t sequence, int kv_head, std::int32_t first, std::int32_t count) const;
  std::int32_t queries_per_item(const Span& s) const;
  std::int64_t cost_of(const Item& item) const;
  std::vector<std::size_t> bundle(const std::vector<Item>& items, int kv_heads) const;

  const Problem& problem_;
  bool observed_;
  int shared_;
  int group_rows_;
  int threads_;
};

/// Keys of a part in decoding: an eighth of the sequence's, but 64 to 512. A rule about the sequence alone, so that
/// results do not depend on the threads.
std::int32_t part_keys_of(const Span& s);

std::int64_t parts_of(const Span& s);
/// Items of part_keys_of keys each, the last of what is left; one even where there is no key.
std::vector<Item> cut_into_parts(const Item& whole);

/// Shares of a sequence's keys where items own keys: enough to keep many threads busy with one head.
std::int32_t shares_of(const Span& s);
/// shares_of items of about equally many tiles of keys.
std::vector<Item> cut_into_shares(const Item& whole);

/// Parts of several items one after the other in memory, and the items that add them up.
struct Parts {
  std::byte* place;  ///< of the next part
  std::vector<Item> items = {}, sums = {};

  void add(const Item& whole, const std::vector<Item>& cut, std::int64_t part_bytes);
};

}  // namespace rapt::attention
