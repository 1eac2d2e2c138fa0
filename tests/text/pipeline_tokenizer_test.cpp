#include "text/pipeline_tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "text/helpers.h"
#include "text/pipeline/pattern.h"
#include "text/ugly_text.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;
using Checksums = std::vector<std::uint32_t>;

TEST(UglyText, IsTheSameAsInPython) {
  EXPECT_EQ(test::checksums_of(test::ugly_lines()), test::golden("ugly.json")["checksums"].get<Checksums>());
}

/// The first block whose checksum differs; -1 if none does.
int first_difference(const Checksums& found, const Checksums& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (i >= found.size() || found[i] != expected[i]) return static_cast<int>(i);
  }
  return -1;
}

TEST(Patterns, CutAsTheirRegularExpressions) {
  const nlohmann::json golden = test::golden("patterns.json");
  const std::vector<std::string_view> known = known_regexes();
  EXPECT_EQ(golden.size(), known.size());
  for (const std::string_view regex : known) {
    const Pattern pattern = find_regex_pattern(regex);
    test::BlockChecksums checksums;
    for (const std::string& line : test::ugly_lines()) {
      std::string cut;
      for (const Part& part : pattern(line)) {
        if (part.begin > 0) cut += '\x1f';
        cut += part.of(line);
      }
      checksums.add(cut);
    }
    ASSERT_TRUE(golden.contains(regex)) << regex;
    EXPECT_EQ(first_difference(checksums.checksums(), golden[std::string(regex)].get<Checksums>()), -1) << regex;
  }
}

class PipelineGolden : public testing::TestWithParam<std::string> {
 protected:
  PipelineGolden()
      : golden_(test::golden("pipeline.json")[GetParam()]),
        tokenizer_(load_tokenizer(test::kData / "pipeline" / GetParam())) {}

  std::optional<std::int32_t> golden_special(const char* name) const {
    const auto& id = golden_["special"][name];
    return id.is_null() ? std::nullopt : std::optional(id.get<std::int32_t>());
  }

  nlohmann::json golden_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(PipelineGolden, FirstLinesInFull) {
  EXPECT_EQ(tokenizer_->vocab_size(), golden_["size"].get<std::int32_t>());
  for (std::size_t i = 0; i < golden_["lines"].size(); ++i) {
    const std::string& line = test::ugly_lines()[i];
    const auto ids = golden_["lines"][i]["ids"].get<Ids>();
    EXPECT_EQ(tokenizer_->encode(line), ids) << i << ": " << line;
    EXPECT_EQ(tokenizer_->decode(ids), golden_["lines"][i]["decoded"].get<std::string>()) << i << ": " << line;
  }
}

TEST_P(PipelineGolden, AllLines) {
  test::BlockChecksums ids, bare, decoded;
  for (std::size_t i = 0; i < test::ugly_lines().size(); ++i) {
    const std::string& line = test::ugly_lines()[i];
    const Ids encoded = tokenizer_->encode(line);
    ids.add(fmt::format("{}", fmt::join(encoded, " ")));
    decoded.add(tokenizer_->decode(encoded));
    if (i < test::kUglyBlock) {
      bare.add(fmt::format("{}", fmt::join(tokenizer_->encode(line, {.special_tokens = false}), " ")));
    }
  }
  EXPECT_EQ(first_difference(ids.checksums(), golden_["ids"].get<Checksums>()), -1);
  EXPECT_EQ(first_difference(decoded.checksums(), golden_["decoded"].get<Checksums>()), -1);
  EXPECT_EQ(bare.checksums(), golden_["bare"].get<Checksums>());
}

TEST_P(PipelineGolden, SpecialTokens) {
  EXPECT_EQ(tokenizer_->special().bos, golden_special("bos"));
  EXPECT_EQ(tokenizer_->special().eos, golden_special("eos"));
  EXPECT_EQ(tokenizer_->special().unk, golden_special("unk"));
  EXPECT_EQ(tokenizer_->special().pad, golden_special("pad"));
}

TEST_P(PipelineGolden, IsWrittenAsItWasRead) {
  const Scratch directory;
  tokenizer_->write(directory.path());
  const auto again = load_tokenizer(directory.path());
  EXPECT_EQ(again->files(), tokenizer_->files());
  EXPECT_EQ(again->pieces(), tokenizer_->pieces());
}

INSTANTIATE_TEST_SUITE_P(, PipelineGolden,
                         testing::Values("gpt2", "llama3", "qwen2", "o200k", "smollm2", "deepseek", "roberta", "clip",
                                         "llama2", "metaspace-first", "gemma", "bert-uncased", "bert-cased",
                                         "xlm-roberta", "albert", "unigram-bytes", "exotic", "word-suffixes"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace rapt
