#include "view/attention_map.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "rapt/error.h"

namespace rapt::view {
namespace {

/// Softmax rows of random logits; `sharpness` 0 is uniform.
AttentionMap random_map(AttentionKind kind, int heads, int queries, int keys, double sharpness,
                        std::uint64_t seed = 1) {
  AttentionMap map{.kind = kind, .heads = heads, .queries = queries, .keys = keys};
  RandomSequence random(seed);
  for (int line = 0; line < heads * queries; ++line) {
    const int visible = kind == AttentionKind::decoder ? line % queries + 1 : keys;
    std::vector<double> row(static_cast<std::size_t>(keys));
    double sum = 0;
    for (int key = 0; key < visible; ++key)
      sum += row[static_cast<std::size_t>(key)] = std::exp(sharpness * random.normal());
    for (const double value : row) map.weights.push_back(static_cast<float>(value / sum));
  }
  return map;
}

EncodedMap encoded(const AttentionMap& map) {
  return encode(map, std::vector<bool>(static_cast<std::size_t>(map.queries)),
                std::vector<bool>(static_cast<std::size_t>(map.keys)));
}

float exact(const AttentionMap& map, int head, int query, int key) {
  return map.weights[static_cast<std::size_t>((head * map.queries + query) * map.keys + key)];
}

TEST(AttentionMap, QuantisationStaysWithinItsBound) {
  for (const double sharpness : {0.0, 0.5, 2.0, 8.0}) {
    const AttentionMap map = random_map(AttentionKind::cross, 3, 40, 57, sharpness);
    const EncodedMap stored = encoded(map);
    for (int head = 0; head < map.heads; ++head) {
      for (int query = 0; query < map.queries; ++query) {
        double largest = 0;
        for (int key = 0; key < map.keys; ++key) largest = std::max<double>(largest, exact(map, head, query, key));
        const double bound = (largest + 1.0 / 65535) / 510 + 1e-12;
        EXPECT_LE(bound, 1.0 / 510 + 1e-7);
        for (int key = 0; key < map.keys; ++key) {
          EXPECT_NEAR(stored.weight(head, query, key), exact(map, head, query, key), bound);
        }
      }
    }
  }
}

TEST(AttentionMap, OneAndZeroStayExact) {
  const AttentionMap map{.heads = 1, .queries = 2, .keys = 2, .weights = {1, 0, 0.5f, 0.5f}};
  const EncodedMap stored = encoded(map);
  EXPECT_EQ(stored.weight(0, 0, 0), 1);
  EXPECT_EQ(stored.weight(0, 0, 1), 0);
  EXPECT_EQ(stored.row_sum_error, 0);
}

TEST(AttentionMap, AQueryThatSeesNothingIsKept) {
  const EncodedMap stored = encoded({.heads = 1, .queries = 1, .keys = 3, .weights = {0, 0, 0}});
  EXPECT_EQ(stored.weight(0, 0, 1), 0);
  EXPECT_EQ(stored.row_sum_error, 1);
}

TEST(AttentionMap, PooledCellsSumOverKeysAndAverageOverQueries) {
  const AttentionMap map = random_map(AttentionKind::cross, 2, 300, 600, 1.0);
  const EncodedMap stored = encoded(map);
  ASSERT_EQ(stored.query_block, 2);
  ASSERT_EQ(stored.key_block, 3);
  ASSERT_EQ(stored.rows, 150);
  ASSERT_EQ(stored.columns, 200);
  for (const int row : {0, 77, 149}) {
    double sum = 0;
    for (int column = 0; column < stored.columns; ++column) {
      double cell = 0;
      for (int query = 2 * row; query < 2 * row + 2; ++query) {
        for (int key = 3 * column; key < 3 * column + 3; ++key) cell += exact(map, 1, query, key) / 2.0;
      }
      EXPECT_NEAR(stored.weight(1, row, column), cell, 1.0 / 510);
      sum += stored.weight(1, row, column);
    }
    EXPECT_NEAR(sum, 1, 0.02);
  }
}

TEST(AttentionMap, ThePartialBlockAtTheEndIsAveragedOverWhatItHolds) {
  const AttentionMap map = random_map(AttentionKind::cross, 1, 257, 4, 1.0);
  const EncodedMap stored = encoded(map);
  ASSERT_EQ(stored.rows, 129);
  EXPECT_NEAR(stored.weight(0, 128, 0), exact(map, 0, 256, 0), 1.0 / 510);
}

TEST(AttentionMap, NoSideEverExceedsTheLimit) {
  for (const int count : {1, 255, 256, 257, 511, 513, 2000, 100'000}) {
    const EncodedMap stored = encoded(
        {.heads = 1, .queries = 1, .keys = count, .weights = std::vector<float>(static_cast<std::size_t>(count))});
    EXPECT_LE(stored.columns, max_map_side);
    EXPECT_EQ(stored.key_block == 1, count <= max_map_side);
    EXPECT_GE(stored.columns * stored.key_block, count);
    EXPECT_LT((stored.columns - 1) * stored.key_block, count);
  }
}

TEST(AttentionMap, SeesWhetherTheDecoderLookedAhead) {
  AttentionMap map = random_map(AttentionKind::decoder, 2, 9, 9, 1.0);
  EXPECT_TRUE(encoded(map).causal);
  map.weights[1] = 1e-6f;
  EXPECT_FALSE(encoded(map).causal);
  EXPECT_FALSE(encoded(random_map(AttentionKind::encoder, 2, 9, 9, 1.0)).causal);
}

TEST(AttentionMap, ReportsHowFarRowsAreFromOne) {
  EXPECT_LT(encoded(random_map(AttentionKind::cross, 2, 9, 9, 1.0)).row_sum_error, 1e-6);
  EXPECT_NEAR(encoded({.heads = 1, .queries = 1, .keys = 2, .weights = {0.5f, 0.25f}}).row_sum_error, 0.25, 1e-12);
}

TEST(AttentionMap, RefusesWhatIsNoAttention) {
  const auto message = [](const AttentionMap& map, std::size_t queries, std::size_t keys) -> std::string {
    try {
      encode(map, std::vector<bool>(queries), std::vector<bool>(keys));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto two_keys = [](std::vector<float> weights) {
    return AttentionMap{
        .kind = AttentionKind::cross, .layer = 3, .heads = 1, .queries = 1, .keys = 2, .weights = weights};
  };
  EXPECT_EQ(message(two_keys({0.5f, 0.5f}), 1, 2), "");
  EXPECT_EQ(message(two_keys({0.5f}), 1, 2),
            "cross attention of layer 3 holds 1 weights; [1 heads, 1 queries, 2 keys] needs 2");
  EXPECT_EQ(message(two_keys({0.5f, 0.5f}), 1, 3),
            "cross attention of layer 3 is [1 queries, 2 keys]; the sentence has 1 and 3 pieces");
  for (const float bad : {NAN, INFINITY, -0.1f, 1.5f}) {
    EXPECT_NE(message(two_keys({0.5f, bad}), 1, 2).find("expected probabilities from 0 to 1"), std::string::npos)
        << bad;
  }
  EXPECT_NE(message({.heads = 0, .queries = 1, .keys = 1}, 1, 1).find("each must be at least 1"), std::string::npos);
}

}  // namespace
}  // namespace rapt::view
