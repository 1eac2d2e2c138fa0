/// What a forward pass says about its weights (Statistics): how rows are asked, and the passes after the output.
#pragma once

#include "attention/items.h"

namespace rapt::attention {

/// What is asked about rows, as the kernels read it. `ask` may be null.
RowStatistics row_statistics(const Statistics* ask);

/// key_mass, pooled maps and whole rows, given the log-sum-exp of the forward pass in `call`.
void collect_statistics(const WeightKernels& kernels, const Items& make, const Call& call, const Statistics& ask);

/// Pooled maps, and the shares of them that items leave. Asked for nothing with bins 0.
class PooledMaps {
 public:
  /// Clears the maps.
  PooledMaps(const Problem& problem, int bins, float* maps);

  /// Gives each item the place of its share, until the next call.
  void give_places(std::vector<Item>& items);
  /// Adds what the items left, in their order.
  void collect(const std::vector<Item>& items) const;

 private:
  const Problem& problem_;
  std::int64_t bins_;
  float* maps_;
  std::vector<float> shares_;
};

/// All weights of one sequence and head, [query_count, key_count], given the log-sum-exp in `call`.
void write_weights(Kernel* kernel, const Items& make, const Call& call, int sequence, int head, float* weights);

/// The sequence that query row `row` belongs to; how many there are, if none.
std::size_t sequence_of_row(const Problem& problem, std::int32_t row);

}  // namespace rapt::attention
