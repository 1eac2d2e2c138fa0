#include "training/documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"

namespace rapt::training {
namespace {

/// Documents of these lengths; every token is its own number.
TokenLists numbered(const std::vector<int>& lengths) {
  TokenLists lists;
  std::int32_t next = 0;
  for (const int length : lengths) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
    std::iota(ids.begin(), ids.end(), next);
    next += length;
    lists.add(ids);
  }
  return lists;
}

using Texts = std::vector<std::string_view>;

TEST(SplitDocuments, CutsWhereItIsTold) {
  const std::string text = "\none\ntwo\n\n \t\nthree\r\n\nfour";
  EXPECT_EQ(split_documents(text, DocumentEnd::file), (Texts{"one\ntwo\n\n \t\nthree\r\n\nfour"}));
  EXPECT_EQ(split_documents(text, DocumentEnd::blank_line), (Texts{"one\ntwo", "three", "four"}));
  EXPECT_EQ(split_documents(text, DocumentEnd::line), (Texts{"one", "two", "three", "four"}));
  EXPECT_TRUE(split_documents(" \n\n", DocumentEnd::line).empty());
  for (const DocumentEnd end : {DocumentEnd::file, DocumentEnd::blank_line, DocumentEnd::line})
    EXPECT_EQ(parse_document_end(name_of(end)), end);
  EXPECT_THROW(parse_document_end("page"), Error);
}

TEST(HoldOut, TakesWholeDocumentsWhereThereAreSeveral) {
  const auto parts = hold_out(Texts{"a", "b", "c", "d"}, 0.3);
  EXPECT_EQ(parts.training, (Texts{"a", "b", "c"}));
  EXPECT_EQ(parts.validation, (Texts{"d"}));
  EXPECT_EQ(hold_out(Texts{"a", "b"}, 0.99).training, (Texts{"a"}));
  EXPECT_EQ(hold_out(Texts{"0123456789"}, 0.2).validation, (Texts{"89"}));
  EXPECT_THROW(hold_out(Texts{"a", "b"}, 1), Error);
}

/// Every prediction once an epoch, no sequence across documents, none longer than a piece.
TEST(DocumentBatches, ReadEveryTokenOnceAnEpoch) {
  const TokenLists documents = numbered({3, 50, 1, 2, 17});
  const Cutting cutting{.length = 8, .batch_tokens = 20, .unread = 1};
  DocumentBatches batches(documents, cutting, 5, [&](std::span<const Piece> pieces, const RandomSequence&) {
    return next_token_batch(documents, pieces);
  });
  std::set<std::vector<std::int32_t>> orders;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int32_t> read;
    for (std::int64_t i = 0; i < batches.batches(epoch); ++i) {
      const Batch batch = batches.batch({epoch, i});
      ASSERT_LE(batch.target_tokens(), 20);
      for (std::int32_t s = 0; s < batch.input.sequences.count(); ++s) ASSERT_LE(batch.input.sequences.length(s), 8);
      for (std::size_t t = 0; t < batch.targets.size(); ++t) ASSERT_EQ(batch.targets[t], batch.input.ids[t] + 1);
      read.insert(read.end(), batch.input.ids.begin(), batch.input.ids.end());
    }
    orders.insert(read);
    std::ranges::sort(read);
    std::vector<std::int32_t> expected;
    for (std::size_t d = 0; d < documents.size(); ++d)
      expected.insert(expected.end(), documents[d].begin(), documents[d].end() - 1);
    EXPECT_EQ(read, expected);
  }
  EXPECT_EQ(orders.size(), 3U) << "epochs differ";
}

TEST(DocumentBatches, AreAFunctionOfSeedAndPosition) {
  const TokenLists documents = numbered({40, 40});
  const Masking masking{.mask = 1000, .ordinary = {}, .before = {}, .after = {}};
  Masking all = masking;
  all.ordinary.resize(80);
  std::iota(all.ordinary.begin(), all.ordinary.end(), 0);
  const auto make = [&](std::span<const Piece> pieces, RandomSequence random) {
    return masked_batch(documents, pieces, all, random);
  };
  const Cutting cutting{.length = 10, .batch_tokens = 20};
  DocumentBatches one(documents, cutting, 5, make);
  DocumentBatches other(documents, cutting, 5, make);
  DocumentBatches different(documents, cutting, 6, make);
  (void)other.batch({3, 1});
  EXPECT_EQ(one.batch({1, 2}).source.ids, other.batch({1, 2}).source.ids);
  EXPECT_EQ(one.batch({1, 2}).predicted, other.batch({1, 2}).predicted);
  EXPECT_NE(one.batch({1, 2}).source.ids, different.batch({1, 2}).source.ids);
  EXPECT_NE(one.describe({1, 2}).find("epoch 2, batch 3 (documents "), std::string::npos);
  EXPECT_THROW(DocumentBatches(numbered({1}), {.length = 4, .unread = 1}, 1, make), Error);
}

TEST(ValidationBatches, AreAllDocumentsInOrder) {
  const TokenLists documents = numbered({12, 3});
  const auto batches = validation_batches(
      documents, {.length = 5, .batch_tokens = 10, .unread = 1},
      [&](std::span<const Piece> pieces, const RandomSequence&) { return next_token_batch(documents, pieces); });
  std::vector<std::int32_t> read;
  for (const Batch& batch : batches) read.insert(read.end(), batch.input.ids.begin(), batch.input.ids.end());
  EXPECT_EQ(read, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13}));
}

/// The shares of the paper, within four standard deviations; special tokens are never touched.
TEST(MaskedBatch, MasksAsThePaperSays) {
  constexpr std::int32_t ordinary = 1000;
  constexpr std::int32_t mask = 1003;
  TokenLists documents;
  std::vector<std::int32_t> ids(100'000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i % (ordinary + 1));  // 1000: special
  documents.add(ids);
  Masking masking{.mask = mask, .ordinary = {}, .before = {1001}, .after = {1002}};
  masking.ordinary.resize(ordinary);
  std::iota(masking.ordinary.begin(), masking.ordinary.end(), 0);
  const Piece piece{.document = 0, .begin = 0, .length = std::ssize(ids)};
  const Batch batch = masked_batch(documents, {&piece, 1}, masking, RandomSequence(7));

  ASSERT_EQ(batch.source.ids.size(), ids.size() + 2);
  EXPECT_EQ(batch.source.ids.front(), 1001);
  EXPECT_EQ(batch.source.ids.back(), 1002);
  std::map<std::size_t, std::int32_t> targets;
  for (std::size_t i = 0; i < batch.predicted.size(); ++i)
    targets[static_cast<std::size_t>(batch.predicted[i])] = batch.targets[i];
  double masked = 0, kept = 0, other = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::int32_t seen = batch.source.ids[i + 1];
    if (!targets.contains(i + 1)) {
      ASSERT_EQ(seen, ids[i]);
      continue;
    }
    ASSERT_EQ(targets.at(i + 1), ids[i]);
    ASSERT_NE(ids[i], ordinary) << "a special token";
    ASSERT_TRUE(seen == mask || seen < ordinary);
    (seen == mask ? masked : seen == ids[i] ? kept : other) += 1;
  }
  const double chosen = static_cast<double>(targets.size());
  const auto near = [](double share, double expected, double count) {
    return std::abs(share - expected) < 4 * std::sqrt(expected * (1 - expected) / count);
  };
  EXPECT_TRUE(near(chosen / 99'900, 0.15, 99'900)) << chosen;
  EXPECT_TRUE(near(masked / chosen, 0.8, chosen)) << masked / chosen;
  EXPECT_TRUE(near(kept / chosen, 0.1, chosen)) << kept / chosen;
  EXPECT_TRUE(near(other / chosen, 0.1, chosen)) << other / chosen;
}

TEST(MaskedBatch, PredictsAtLeastOneToken) {
  TokenLists documents;
  const std::vector<std::int32_t> one{3};
  documents.add(one);
  const Piece piece{.document = 0, .begin = 0, .length = 1};
  Masking masking{.mask = 9, .ordinary = {3}, .before = {7}, .after = {8}};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Batch batch = masked_batch(documents, {&piece, 1}, masking, RandomSequence(seed));
    EXPECT_EQ(batch.predicted, (std::vector<std::int32_t>{1}));
    EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{3}));
  }
  masking.ordinary = {4};
  const Batch batch = masked_batch(documents, {&piece, 1}, masking, RandomSequence(1));
  EXPECT_EQ(batch.source.ids, (std::vector<std::int32_t>{7, 3, 8})) << "nothing but special tokens";
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{7}));
}

}  // namespace
}  // namespace rapt::training
