/// Patterns from papers, composed of the sets that visibility.h offers to everybody.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "attention/visibility_node.h"
#include "core/error.h"
#include "core/random.h"

namespace rapt::attention {
namespace {

void require_big_bird(const Visibility::BigBird& options) {
  require(options.length >= 0, "visibility: big_bird: the length is {}; give 0 or more", options.length);
  require(options.block >= 1, "visibility: big_bird: a block of {} tokens; give 1 or more", options.block);
  require(options.window_blocks == 0 || (options.window_blocks > 0 && options.window_blocks % 2 == 1),
          "visibility: big_bird: {} window blocks; give an odd number (a block and as many on each side), or 0",
          options.window_blocks);
  require(options.random_blocks >= 0, "visibility: big_bird: {} random blocks; give 0 or more", options.random_blocks);
  require(options.global_blocks >= 0, "visibility: big_bird: {} global blocks; give 0 or more", options.global_blocks);
}

/// Adds up to `count` of the blocks that are not visible in `row`, chosen without replacement.
void add_random_blocks(std::span<std::uint8_t> row, std::int32_t count, RandomSequence random) {
  std::vector<std::size_t> hidden;
  for (std::size_t block = 0; block < row.size(); ++block) {
    if (row[block] == 0) hidden.push_back(block);
  }
  for (std::int32_t i = 0; i < count && !hidden.empty(); ++i) {
    std::swap(hidden[random.below(hidden.size())], hidden.back());
    row[hidden.back()] = 1;
    hidden.pop_back();
  }
}

}  // namespace

Visibility Visibility::longformer(std::int32_t window, std::vector<std::int32_t> global_positions) {
  require(window >= 0, "visibility: longformer: a window of {} keys; give 0 or more", window);
  const Visibility seen_by_all = global_keys(global_positions);
  return Visibility::window(window / 2, window / 2) | seen_by_all | global_queries(std::move(global_positions));
}

Visibility Visibility::big_bird(const BigBird& options) {
  require_big_bird(options);
  const std::int64_t blocks = (std::int64_t{options.length} + options.block - 1) / options.block;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(blocks * blocks));
  for (std::int64_t query = 0; query < blocks; ++query) {
    const auto row =
        std::span(mask).subspan(static_cast<std::size_t>(query * blocks), static_cast<std::size_t>(blocks));
    for (std::int64_t key = 0; key < blocks; ++key) {
      const bool in_window = 2 * std::abs(query - key) < options.window_blocks;
      row[static_cast<std::size_t>(key)] = in_window || std::min(query, key) < options.global_blocks;
    }
    add_random_blocks(row, options.random_blocks, RandomSequence(options.seed, static_cast<std::uint64_t>(query)));
  }
  const auto side = static_cast<std::int32_t>(blocks);
  return Visibility(
      make_blocks(options.block, side, side, mask,
                  fmt::format("big_bird({}, {}, {}, {}, {}, {})", options.length, options.block, options.window_blocks,
                              options.random_blocks, options.global_blocks, options.seed)));
}

Visibility Visibility::sparse_transformer_strided(std::int32_t stride) {
  require(stride >= 1, "visibility: sparse_transformer_strided: the stride is {}; give 1 or more", stride);
  return causal() & (window(stride - 1, 0) | strided(stride));
}

Visibility Visibility::sparse_transformer_fixed(std::int32_t stride, std::int32_t summary) {
  require(stride >= 1, "visibility: sparse_transformer_fixed: the stride is {}; give 1 or more", stride);
  require(1 <= summary && summary <= stride,
          "visibility: sparse_transformer_fixed: {} summary keys in a block of {}; give 1 to {}", summary, stride,
          stride);
  return causal() & (same_block(stride) | columns(stride, stride - summary, stride));
}

}  // namespace rapt::attention
