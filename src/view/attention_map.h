/// Attention weights on their way to the page: pooled when large, measured, and stored in 8 bits.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/capture.h"
#include "view/patterns.h"

namespace rapt::view {

/// The attention of one layer for one sentence, as the model computed it.
using AttentionMap = CapturedAttention;

/// Largest number of rows or columns of a map on the page.
inline constexpr int max_map_side = 256;

/// An AttentionMap as the page holds it.
///
/// Pooling: when `queries` (or `keys`) is over max_map_side, `query_block` (`key_block`) consecutive ones share a row
/// (a column); the last may be shorter. A pooled cell is the attention that its keys get together from one of its
/// queries, on average: the sum over the keys of the mean over the queries, so rows still sum to 1.
///
/// Quantisation: a cell is scales[head, row] / 65535 * weights[head, row, column] / 255, where the scale is the row's
/// largest weight rounded up. It differs from the exact one by at most the row's scale / 510, so by at most 1/510; 0
/// stays exactly 0. Rounding in a model's bfloat16 can give weights and sums a little over 1; they are stored as 1.
struct EncodedMap {
  AttentionKind kind = AttentionKind::cross;
  int layer = 0;
  int heads = 0;
  int queries = 0;
  int keys = 0;
  int query_block = 1;
  int key_block = 1;
  int rows = 0;                            ///< ceil(queries / query_block)
  int columns = 0;                         ///< ceil(keys / key_block)
  bool causal = false;                     ///< no query gave any weight to a key after its own place
  double row_sum_error = 0;                ///< largest |row sum - 1|, of the weights as computed
  std::vector<std::uint16_t> scales = {};  ///< [heads, rows]
  std::vector<std::uint8_t> weights = {};  ///< [heads, rows, columns]
  std::vector<Patterns> patterns = {};     ///< [heads]
  Patterns mean_patterns = {};             ///< of the mean over the heads

  /// The weight of a cell.
  double weight(int head, int row, int column) const;
  /// Bytes that the map takes on the page, in base64.
  std::size_t page_bytes() const;
};

/// Checks, measures, pools and quantises. special_queries [queries] and special_keys [keys] mark pieces that are no
/// text. Throws when the number of weights is not heads * queries * keys, or a weight is not a probability.
EncodedMap encode(const AttentionMap& map, const std::vector<bool>& special_queries,
                  const std::vector<bool>& special_keys);

}  // namespace rapt::view
