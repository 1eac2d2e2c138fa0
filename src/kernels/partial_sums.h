/// Sums over rows, split over threads without depending on them.
#pragma once

#include <memory>

#include "kernels/operands.h"

namespace rapt::kernels {

/// One row of `width` partial sums, zero at first, for each block of rows. The blocks add up what they see; then
/// add_to() adds the rows in order.
class PartialSums {
 public:
  /// f64 sums for f64 elements, f32 otherwise.
  PartialSums(DType elements, std::int64_t blocks, std::int64_t width);
  /// How rows are cut for sums over them: as for other work, but into few blocks, since each costs a row of sums.
  static Blocks blocks_of(std::int64_t rows, std::int64_t width);

  /// The partial sums of a block from column `first` on.
  void* of(std::int64_t block, std::int64_t first = 0);
  /// result[c] += the sums of column first + c over all blocks, for the columns of `result`.
  void add_to(const Tensor& result, std::int64_t first = 0) const;

 private:
  DType dtype_;
  std::int64_t blocks_;
  std::int64_t width_;
  std::unique_ptr<std::byte[]> sums_;
};

}  // namespace rapt::kernels
