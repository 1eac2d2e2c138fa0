#include "view/patterns.h"

#include <gtest/gtest.h>

#include <functional>

namespace rapt::view {
namespace {

/// Patterns of a head whose query i looks at key_of(i) alone, or at all it can see where that is -1.
Patterns patterns_of(AttentionKind kind, int queries, int keys, const std::function<int(int)>& key_of) {
  const bool causal = kind == AttentionKind::decoder;
  std::vector<float> weights(static_cast<std::size_t>(queries * keys));
  for (int query = 0; query < queries; ++query) {
    const int visible = causal ? query + 1 : keys;
    for (int key = 0; key < visible; ++key) {
      const int only = key_of(query);
      weights[static_cast<std::size_t>(query * keys + key)] =
          only < 0 ? 1.0f / static_cast<float>(visible) : static_cast<float>(key == only);
    }
  }
  std::vector<bool> special_queries(static_cast<std::size_t>(queries));
  std::vector<bool> special_keys(static_cast<std::size_t>(keys));
  special_queries.back() = true;
  special_keys.back() = !causal;
  return measure({kind, causal, queries, keys, weights, special_queries, special_keys});
}

TEST(Patterns, NamesHeadsOfTheEncoder) {
  const auto name = [](const std::function<int(int)>& key_of) {
    return name_of(patterns_of(AttentionKind::encoder, 8, 8, key_of));
  };
  EXPECT_EQ(name([](int i) { return std::max(0, i - 1); }).name, "previous");
  EXPECT_EQ(name([](int i) { return i; }).name, "same");
  EXPECT_EQ(name([](int i) { return std::min(7, i + 1); }).name, "next");
  EXPECT_EQ(name([](int) { return 0; }).name, "first");
  EXPECT_EQ(name([](int) { return 7; }).name, "last");
  EXPECT_EQ(name([](int) { return -1; }).name, "broad");
  EXPECT_EQ(name([](int i) { return (i * 3 + 3) % 8; }).name, "mixed");
  EXPECT_FLOAT_EQ(name([](int i) { return i; }).score, 1);
}

TEST(Patterns, NamesHeadsOfTheDecoder) {
  const auto name = [](const std::function<int(int)>& key_of) {
    return name_of(patterns_of(AttentionKind::decoder, 8, 8, key_of)).name;
  };
  EXPECT_EQ(name([](int i) { return std::max(0, i - 1); }), "previous");
  EXPECT_EQ(name([](int i) { return i; }), "same");
  EXPECT_EQ(name([](int) { return 0; }), "first");
  EXPECT_EQ(name([](int) { return -1; }), "broad");
}

TEST(Patterns, EvenAttentionIsBroadByMeasure) {
  EXPECT_NEAR(patterns_of(AttentionKind::decoder, 9, 9, [](int) { return -1; }).broad, 1, 1e-5);
  EXPECT_NEAR(patterns_of(AttentionKind::encoder, 9, 9, [](int) { return -1; }).broad, 1, 1e-5);
  EXPECT_NEAR(patterns_of(AttentionKind::encoder, 9, 9, [](int i) { return i; }).broad, 0, 1e-5);
}

TEST(Patterns, AlignmentAsksForSharpLooksAtDifferentPieces) {
  const auto aligned = [](const std::function<int(int)>& key_of) {
    return patterns_of(AttentionKind::cross, 6, 6, key_of).aligned;
  };
  EXPECT_FLOAT_EQ(aligned([](int i) { return i; }), 1);
  EXPECT_FLOAT_EQ(aligned([](int i) { return i < 5 ? 4 - i : 5; }), 1) << "order does not matter";
  EXPECT_FLOAT_EQ(aligned([](int) { return 2; }), 0.2f) << "one of five pieces of text is covered";
  EXPECT_FLOAT_EQ(aligned([](int) { return 5; }), 0) << "a symbol is no text";
  EXPECT_NEAR(aligned([](int) { return -1; }), 1.0 / 6 / 5, 1e-6);
  EXPECT_EQ(name_of(patterns_of(AttentionKind::cross, 6, 6, [](int) { return 5; })).name, "last");
}

TEST(Patterns, TooShortSentencesSayNothing) {
  const Patterns patterns = patterns_of(AttentionKind::encoder, 1, 1, [](int) { return 0; });
  EXPECT_EQ(name_of(patterns).name, "mixed");
  EXPECT_EQ(patterns.same, 0);
  EXPECT_EQ(patterns.first, 0);
  EXPECT_EQ(patterns_of(AttentionKind::cross, 1, 1, [](int) { return 0; }).aligned, 0);
}

}  // namespace
}  // namespace rapt::view
