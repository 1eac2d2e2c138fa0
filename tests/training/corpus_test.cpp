#include "training/corpus.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "formats/scratch.h"

namespace rapt::training {
namespace {

/// One id for each byte, and 0 at the end.
std::vector<std::int32_t> bytes_of(std::string_view text) {
  std::vector<std::int32_t> ids(text.begin(), text.end());
  ids.push_back(0);
  return ids;
}

ParallelCorpus read(const Scratch& scratch, const CorpusOptions& options = {}, int threads = 1) {
  const Context ctx({.threads = threads});
  return read_parallel_corpus(ctx, {scratch / "a", scratch / "b"}, options, {bytes_of, bytes_of});
}

std::string text_of(std::span<const std::int32_t> ids) {
  return {ids.begin(), ids.end() - 1};
}

void put_gzip(const std::filesystem::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

TEST(ParallelCorpus, DropsEmptyLinesPairwiseAndCountsThem) {
  const Scratch scratch;
  put(scratch / "a", "one\n\nthree\n  \nfive\n");
  put(scratch / "b", "eins\nzwei\n\nvier\nf\xc3\xbcnf\n");
  const ParallelCorpus corpus = read(scratch);
  ASSERT_EQ(corpus.tokens.size(), 2u);
  EXPECT_EQ(text_of(corpus.tokens.source[0]), "one");
  EXPECT_EQ(text_of(corpus.tokens.target[0]), "eins");
  EXPECT_EQ(text_of(corpus.tokens.target[1]), "f\xc3\xbcnf");
  EXPECT_EQ(corpus.tokens.lines, (std::vector<std::int64_t>{1, 5}));
  EXPECT_EQ(corpus.report.lines, 5);
  EXPECT_EQ(corpus.report.kept, 2);
  EXPECT_EQ(corpus.report.empty, 3);
}

TEST(ParallelCorpus, IsReadFromGzipAsFromPlainText) {
  const Scratch scratch;
  const Scratch compressed;
  put(scratch / "a", "one\ntwo\n");
  put(scratch / "b", "eins\nzwei");
  put_gzip(compressed / "a", "one\r\ntwo\r\n");
  put_gzip(compressed / "b", "eins\nzwei\n");
  const ParallelCorpus plain = read(scratch);
  const ParallelCorpus gzip = read(compressed);
  EXPECT_EQ(text_of(gzip.tokens.target[1]), "zwei");
  EXPECT_EQ(gzip.report.digests, plain.report.digests);
}

TEST(ParallelCorpus, DropsLongSentencesAndCountsThem) {
  const Scratch scratch;
  put(scratch / "a", "one\nmuch too long\nten\n");
  put(scratch / "b", "eins\nlang\nauch zu lang\n");
  const ParallelCorpus corpus = read(scratch, {.max_length = 6});
  EXPECT_EQ(corpus.tokens.size(), 1u);
  EXPECT_EQ(corpus.report.too_long, 2);
  EXPECT_EQ(corpus.report.kept, 1);
  EXPECT_TRUE(refuses([&] { read(scratch, {.max_length = 2}); }, "all 3 pairs", "--max-length 2"));
}

TEST(ParallelCorpus, IsTheSameForAnyNumberOfThreads) {
  const Scratch scratch;
  std::string a;
  std::string b;
  for (int i = 0; i < 10000; ++i) {
    a += std::to_string(i) + "\n";
    b += std::to_string(7 * i) + "\n";
  }
  put(scratch / "a", a);
  put(scratch / "b", b);
  const ParallelCorpus one = read(scratch, {}, 1);
  const ParallelCorpus three = read(scratch, {}, 3);
  ASSERT_EQ(one.tokens.size(), 10000u);
  EXPECT_EQ(text_of(one.tokens.source[9999]), "9999");
  EXPECT_EQ(one.tokens.lines, three.tokens.lines);
  for (std::size_t i = 0; i < one.tokens.size(); ++i)
    ASSERT_EQ(text_of(one.tokens.target[i]), text_of(three.tokens.target[i]));
}

TEST(ParallelCorpus, NamesBothCountsWhenTheyDiffer) {
  const Scratch scratch;
  put(scratch / "a", "1\n2\n3\n");
  put(scratch / "b", "1\n2\n3\n4\n5\n");
  EXPECT_TRUE(
      refuses([&] { read(scratch); }, (scratch / "a").string() + " has 3 lines", (scratch / "b").string() + " has 5"));
}

TEST(ParallelCorpus, NamesAMissingFile) {
  const Scratch scratch;
  put(scratch / "a", "1\n");
  EXPECT_TRUE(refuses([&] { read(scratch); }, (scratch / "b").string()));
}

TEST(ParallelCorpus, RefusesOneWithoutPairs) {
  const Scratch scratch;
  put(scratch / "a", "");
  put(scratch / "b", "");
  EXPECT_TRUE(refuses([&] { read(scratch); }, "no pair", "0 lines"));
  put(scratch / "a", "\n\n");
  put(scratch / "b", "x\n\n");
  EXPECT_TRUE(refuses([&] { read(scratch); }, "no pair", "2 lines", "2 empty"));
}

TEST(ParallelCorpus, RefusesStandardInput) {
  EXPECT_TRUE(refuses([] { PairReader({"-", "-"}, {}); }, "standard input"));
}

/// N4: text that is not UTF-8.
TEST(ParallelCorpus, NamesFileAndLineThatAreNotUtf8) {
  const Scratch scratch;
  put(scratch / "a", "one\ntwo\n");
  put(scratch / "b", "eins\nzw\xe9i\n");
  EXPECT_TRUE(refuses([&] { read(scratch); }, (scratch / "b").string(), "line 2", "byte 3", "--skip-invalid"));
  const ParallelCorpus corpus = read(scratch, {.skip_invalid = true});
  EXPECT_EQ(corpus.tokens.size(), 1u);
  EXPECT_EQ(corpus.report.invalid, 1);
}

TEST(ParallelCorpus, DigestsTellTextsApart) {
  const Scratch scratch;
  put(scratch / "a", "one\ntwo\n");
  put(scratch / "b", "eins\nzwei\n");
  const auto before = read(scratch).report.digests;
  put(scratch / "b", "eins\nzwo\n");
  const auto after = read(scratch).report.digests;
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1].crc32, before[1].crc32);
}

TEST(PlainText, KeepsEmptyLines) {
  const Scratch scratch;
  put(scratch / "t", "first\n\nthird");
  const PlainText text = read_text(scratch / "t", {});
  EXPECT_EQ(text.text, "first\n\nthird\n");
  EXPECT_EQ(text.report.lines, 3);
}

TEST(PlainText, RefusesWhatIsNotText) {
  const Scratch scratch;
  put(scratch / "t", "\n \n");
  EXPECT_TRUE(refuses([&] { read_text(scratch / "t", {}); }, "no text"));
  put(scratch / "t", "good\n\xff\n");
  EXPECT_TRUE(refuses([&] { read_text(scratch / "t", {}); }, "line 2", "UTF-8"));
  EXPECT_EQ(read_text(scratch / "t", {.skip_invalid = true}).text, "good\n");
}

TEST(HoldOut, TakesTheLastPartByCharacters) {
  const HeldOut parts = hold_out("abcdefgh\xc3\xa4\xc3\xb6", 0.2);
  EXPECT_EQ(parts.training, "abcdefgh");
  EXPECT_EQ(parts.validation, "\xc3\xa4\xc3\xb6");
}

TEST(HoldOut, RefusesToLeaveNothing) {
  EXPECT_TRUE(refuses([] { hold_out("abc", 0); }, "--dev-fraction"));
  EXPECT_TRUE(refuses([] { hold_out("abc", 1); }, "--dev-fraction"));
  EXPECT_TRUE(refuses([] { hold_out("a", 0.5); }, "nothing to train on"));
}

}  // namespace
}  // namespace rapt::training
