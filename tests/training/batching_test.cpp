#include "training/batching.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "core/random.h"
#include "formats/scratch.h"

namespace rapt::training {
namespace {

constexpr std::int32_t eos = 0;
constexpr std::int32_t decoder_start = 99;
constexpr std::uint64_t seed = 7;

/// Pairs of random lengths whose first source token is the index of the pair.
ParallelTokens random_pairs(std::int32_t count, int longest) {
  RandomSequence random(3);
  ParallelTokens pairs;
  for (std::int32_t i = 0; i < count; ++i) {
    std::vector<std::int32_t> source(1 + random.below(static_cast<std::uint64_t>(longest)), 5);
    std::vector<std::int32_t> target(1 + random.below(static_cast<std::uint64_t>(longest)), 6);
    source[0] = 1000 + i;
    target[0] = 1000 + i;
    source.push_back(eos);
    target.push_back(eos);
    pairs.source.add(source);
    pairs.target.add(target);
    pairs.lines.push_back(i + 1);
  }
  return pairs;
}

std::vector<std::vector<std::uint32_t>> epoch_of(PairBatches& batches, std::int64_t epoch) {
  std::vector<std::vector<std::uint32_t>> result;
  for (std::int64_t i = 0; i < batches.batches(epoch); ++i) {
    const auto pairs = batches.pairs({epoch, i});
    result.emplace_back(pairs.begin(), pairs.end());
  }
  return result;
}

TEST(PairBatches, TakeEveryPairOnceAnEpoch) {
  const ParallelTokens corpus = random_pairs(500, 30);
  PairBatches batches(corpus, {.tokens = 200, .max_length = 40}, decoder_start, seed);
  for (const std::int64_t epoch : {0, 1, 5}) {
    std::vector<std::uint32_t> seen;
    for (const auto& batch : epoch_of(batches, epoch)) seen.insert(seen.end(), batch.begin(), batch.end());
    std::ranges::sort(seen);
    std::vector<std::uint32_t> all(corpus.size());
    std::iota(all.begin(), all.end(), 0u);
    EXPECT_EQ(seen, all) << "epoch " << epoch;
  }
}

TEST(PairBatches, RespectTheLimitOfTokensAndUseIt) {
  const ParallelTokens corpus = random_pairs(2000, 30);
  PairBatches batches(corpus, {.tokens = 300, .max_length = 40}, decoder_start, seed);
  std::int64_t largest = 0;
  for (std::int64_t i = 0; i < batches.batches(0); ++i) {
    const Batch batch = batches.batch({0, i});
    EXPECT_LE(batch.source.sequences.tokens(), 300);
    EXPECT_LE(batch.target_tokens(), 300);
    largest = std::max(largest, batch.target_tokens());
  }
  EXPECT_GT(largest, 260);
}

TEST(PairBatches, HoldSentencesOfSimilarLength) {
  const ParallelTokens corpus = random_pairs(2000, 30);
  PairBatches batches(corpus, {.tokens = 300, .max_length = 40}, decoder_start, seed);
  for (const auto& batch : epoch_of(batches, 0)) {
    const auto length = [&](std::uint32_t pair) { return corpus.target.length(pair); };
    const auto [least, most] = std::ranges::minmax(batch, {}, length);
    EXPECT_LE(length(most) - length(least), 3);
  }
}

TEST(PairBatches, AreAFunctionOfSeedAndPosition) {
  const ParallelTokens corpus = random_pairs(300, 30);
  const BatchOptions options{.tokens = 200, .max_length = 40};
  PairBatches one(corpus, options, decoder_start, seed);
  PairBatches other(corpus, options, decoder_start, seed);
  PairBatches third(corpus, options, decoder_start, seed + 1);
  const auto first_epoch = epoch_of(one, 0);
  const auto second_epoch = epoch_of(one, 1);
  EXPECT_EQ(epoch_of(other, 1), second_epoch);  // without having seen the first
  EXPECT_EQ(epoch_of(one, 0), first_epoch);     // going back
  EXPECT_NE(first_epoch, second_epoch);
  EXPECT_NE(epoch_of(third, 0), first_epoch);
}

TEST(PairBatches, GoOnFromAnyPosition) {
  const ParallelTokens corpus = random_pairs(100, 20);
  const BatchOptions options{.tokens = 100, .max_length = 40};
  PairBatches straight(corpus, options, decoder_start, seed);
  Position position;
  std::vector<Position> positions;
  std::vector<std::vector<std::int32_t>> ids;
  for (int i = 0; i < 60; ++i) {
    positions.push_back(position);
    ids.push_back(straight.batch(position).source.ids);
    position = straight.after(position);
  }
  EXPECT_GT(position.epoch, 1);
  for (const std::size_t from : {1u, 13u, 31u, 59u}) {
    PairBatches resumed(corpus, options, decoder_start, seed);
    Position at = positions[from];
    for (std::size_t i = from; i < ids.size(); ++i) {
      ASSERT_EQ(resumed.batch(at).source.ids, ids[i]) << "batch " << i << " from " << from;
      at = resumed.after(at);
    }
  }
}

TEST(PairBatches, ShiftTheTargetsByOne) {
  ParallelTokens corpus;
  corpus.source.add(std::vector<std::int32_t>{11, 12, eos});
  corpus.target.add(std::vector<std::int32_t>{21, eos});
  corpus.source.add(std::vector<std::int32_t>{13, eos});
  corpus.target.add(std::vector<std::int32_t>{22, 23, 24, eos});
  corpus.lines = {1, 2};
  const Batch batch = make_batch(corpus, std::vector<std::uint32_t>{1, 0}, decoder_start);
  EXPECT_EQ(batch.source.ids, (std::vector<std::int32_t>{13, eos, 11, 12, eos}));
  EXPECT_EQ(batch.input.ids, (std::vector<std::int32_t>{decoder_start, 22, 23, 24, decoder_start, 21}));
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{22, 23, 24, eos, 21, eos}));
  EXPECT_EQ(batch.source.sequences.count(), 2);
  EXPECT_EQ(batch.source.sequences.length(1), 3);
  EXPECT_EQ(batch.input.sequences.length(0), 4);
}

TEST(PairBatches, AreDescribedByTheirLines) {
  ParallelTokens corpus = random_pairs(3, 3);
  corpus.lines = {10, 20, 40};
  PairBatches batches(corpus, {.tokens = 100, .max_length = 40}, decoder_start, seed);
  EXPECT_EQ(batches.describe({4, 0}), "epoch 5, batch 1 (lines 10, 20, 40)");
}

/// N2: an empty corpus.
TEST(PairBatches, RefuseAnEmptyCorpus) {
  const ParallelTokens corpus;
  EXPECT_TRUE(refuses([&] { PairBatches(corpus, {}, decoder_start, seed); }, "no pair"));
}

TEST(BatchOptions, AreChecked) {
  EXPECT_TRUE(refuses([&] { check(BatchOptions{.tokens = 0}); }, "--batch-tokens"));
  EXPECT_TRUE(refuses([&] { check(BatchOptions{.tokens = 100, .max_length = 101}); }, "--max-length 101",
                      "--batch-tokens 100"));
  EXPECT_TRUE(refuses([&] { check(BatchOptions{.max_length = 1}); }, "--max-length"));
  EXPECT_TRUE(refuses([&] { check(BatchOptions{.context = 0}); }, "--context"));
  EXPECT_TRUE(refuses([&] { check(BatchOptions{.sequences = -1}); }, "--sequences"));
}

std::vector<std::int32_t> counting(std::int32_t count) {
  std::vector<std::int32_t> text(static_cast<std::size_t>(count));
  std::iota(text.begin(), text.end(), 0);
  return text;
}

TEST(WindowBatches, AreWindowsOfTheText) {
  const auto text = counting(1000);
  WindowBatches batches(text, {.context = 16, .sequences = 5}, seed);
  EXPECT_EQ(batches.batches(0), 1000 / 80);
  const Batch batch = batches.batch({0, 3});
  EXPECT_EQ(batch.input.sequences.count(), 5);
  ASSERT_EQ(batch.target_tokens(), 80);
  for (std::size_t i = 0; i < batch.targets.size(); ++i) EXPECT_EQ(batch.targets[i], batch.input.ids[i] + 1);
  EXPECT_TRUE(batch.source.ids.empty());
}

TEST(WindowBatches, AreAFunctionOfSeedAndPosition) {
  const auto text = counting(1000);
  const BatchOptions options{.context = 16, .sequences = 5};
  WindowBatches one(text, options, seed);
  WindowBatches other(text, options, seed);
  EXPECT_EQ(one.batch({2, 7}).targets, other.batch({2, 7}).targets);
  EXPECT_NE(one.batch({2, 7}).targets, one.batch({2, 8}).targets);
  EXPECT_NE(one.batch({2, 7}).targets, one.batch({3, 7}).targets);
  EXPECT_NE(one.batch({2, 7}).targets, WindowBatches(text, options, seed + 1).batch({2, 7}).targets);
}

TEST(WindowBatches, ReachEveryPlace) {
  const auto text = counting(20);
  WindowBatches batches(text, {.context = 16, .sequences = 50}, seed);
  std::map<std::int32_t, int> starts;
  const Batch batch = batches.batch({0, 0});
  for (std::int32_t i = 0; i < batch.input.sequences.count(); ++i)
    ++starts[batch.input.ids[static_cast<std::size_t>(batch.input.sequences.begin(i))]];
  EXPECT_EQ(starts.size(), 4u);
  EXPECT_EQ(starts.begin()->first, 0);
  EXPECT_EQ(starts.rbegin()->first, 3);
}

TEST(WindowBatches, RefuseATextThatIsTooShort) {
  const auto text = counting(16);
  EXPECT_TRUE(refuses([&] { WindowBatches(text, {.context = 16}, seed); }, "16 tokens", "at least 17"));
}

TEST(ValidationBatches, PredictEachTokenOfATextOnce) {
  for (const std::int32_t count : {2, 17, 100, 161, 162}) {
    const auto text = counting(count);
    std::vector<std::int32_t> targets;
    for (const Batch& batch : validation_batches(text, {.context = 16, .sequences = 5})) {
      EXPECT_LE(batch.input.sequences.count(), 5);
      for (std::size_t i = 0; i < batch.targets.size(); ++i) EXPECT_EQ(batch.targets[i], batch.input.ids[i] + 1);
      targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
    }
    const auto all = counting(count);
    EXPECT_EQ(targets, std::vector<std::int32_t>(all.begin() + 1, all.end())) << count;
  }
}

TEST(ValidationBatches, TakeThePairsInOrder) {
  const ParallelTokens corpus = random_pairs(100, 20);
  std::vector<std::int32_t> targets;
  for (const Batch& batch : validation_batches(corpus, 64, decoder_start)) {
    EXPECT_LE(batch.target_tokens(), 64);
    targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
  }
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < corpus.size(); ++i)
    all.insert(all.end(), corpus.target[i].begin(), corpus.target[i].end());
  EXPECT_EQ(targets, all);
}

}  // namespace
}  // namespace rapt::training
