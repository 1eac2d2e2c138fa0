#include "core/ragged.h"

#include <gtest/gtest.h>

namespace rapt {
namespace {

TEST(Sequences, KnowWhereEachBegins) {
  const Sequences sequences = Sequences::of_lengths(std::vector<std::int32_t>{3, 0, 2});
  EXPECT_EQ(sequences.count(), 3);
  EXPECT_EQ(sequences.tokens(), 5);
  EXPECT_EQ(sequences.begin(1), 3);
  EXPECT_EQ(sequences.length(1), 0);
  EXPECT_EQ(sequences.begin(2), 3);
  EXPECT_EQ(sequences.length(2), 2);
  EXPECT_EQ(sequences.offsets().size(), 4U);
}

TEST(Sequences, NoneAtFirst) {
  EXPECT_EQ(Sequences().count(), 0);
  EXPECT_EQ(Sequences().tokens(), 0);
}

TEST(Sequences, OffsetsBeginWithZero) {
  EXPECT_THROW(Sequences(std::vector<std::int32_t>{}), Error);
  EXPECT_THROW(Sequences(std::vector<std::int32_t>{1, 2}), Error);
}

TEST(RaggedTokens, LayListsEndToEnd) {
  const std::vector<std::vector<std::int32_t>> lists = {{7, 8}, {}, {9}};
  const RaggedTokens batch = RaggedTokens::of(lists);
  EXPECT_EQ(batch.ids, (std::vector<std::int32_t>{7, 8, 9}));
  EXPECT_EQ(batch.sequences.count(), 3);
  EXPECT_EQ(batch.sequences.begin(2), 2);
}

}  // namespace
}  // namespace rapt
