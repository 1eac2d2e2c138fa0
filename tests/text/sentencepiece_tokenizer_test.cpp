#include "text/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "text/helpers.h"
#include "text/ugly_text.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;
using Checksums = std::vector<std::uint32_t>;

class SentencePieceGolden : public testing::TestWithParam<std::string> {
 protected:
  nlohmann::json golden_ = test::golden("sentencepiece.json")[GetParam()];
  std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(test::kData / "pipeline" / GetParam());
};

TEST_P(SentencePieceGolden, IdsAndTextsAreThoseOfSentencePiece) {
  for (std::size_t i = 0; i < golden_["lines"].size(); ++i) {
    const auto ids = golden_["lines"][i]["ids"].get<Ids>();
    EXPECT_EQ(tokenizer_->encode(test::ugly_lines()[i]), ids) << i << ": " << test::ugly_lines()[i];
    EXPECT_EQ(tokenizer_->decode(ids), golden_["lines"][i]["decoded"].get<std::string>()) << i;
  }
  test::BlockChecksums encoded, decoded;
  for (const std::string& line : test::ugly_lines()) {
    const Ids ids = tokenizer_->encode(line);
    encoded.add(fmt::format("{}", fmt::join(ids, " ")));
    decoded.add(tokenizer_->decode(ids));
  }
  EXPECT_EQ(encoded.checksums(), golden_["ids"].get<Checksums>());
  EXPECT_EQ(decoded.checksums(), golden_["decoded"].get<Checksums>());
}

TEST_P(SentencePieceGolden, IsWrittenAsItWasRead) {
  const Scratch directory;
  tokenizer_->write(directory.path());
  EXPECT_EQ(load_tokenizer(directory.path())->files(), tokenizer_->files());
}

TEST_P(SentencePieceGolden, T5_StreamsWhatDecodeGives) {
  RandomSequence random(6);
  for (int round = 0; round < 200; ++round) {
    Ids ids(1 + static_cast<std::size_t>(round) % 40);
    for (std::int32_t& id : ids) {
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(tokenizer_->vocab_size())));
    }
    const auto stream = tokenizer_->stream();
    std::string text;
    for (const std::int32_t id : ids) {
      text += stream->add(id);
      ASSERT_EQ(first_invalid_utf8(text), std::string::npos);
    }
    ASSERT_EQ(text + stream->finish(), tokenizer_->decode(ids));
  }
}

INSTANTIATE_TEST_SUITE_P(, SentencePieceGolden, testing::Values("spm-llama", "spm-t5", "spm-xlm-roberta"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

/// What is wrong with spm-llama under another tokenizer_config.json.
std::string error_with(const std::string& config) {
  const Scratch directory;
  test::write_bytes(directory.path() / "tokenizer.model",
                    test::read_bytes(test::kData / "pipeline/spm-llama/tokenizer.model"));
  test::write_bytes(directory.path() / "tokenizer_config.json", config);
  return test::error_of([&] { load_tokenizer(directory.path()); });
}

TEST(SentencePieceTokenizer, RefusesWhatItDoesNotKnow) {
  using test::contains;
  EXPECT_TRUE(contains(error_with("{}"), "tokenizer_class"));
  EXPECT_TRUE(contains(error_with(R"({"tokenizer_class": "FooTokenizer"})"), "FooTokenizer"));
  EXPECT_TRUE(contains(error_with(R"({"tokenizer_class": "LlamaTokenizer", "surprise": 1})"), "surprise"));
  EXPECT_TRUE(contains(error_with(R"({"tokenizer_class": "LlamaTokenizer", "sp_model_kwargs": {"alpha": 1}})"),
                       "sp_model_kwargs"));
  EXPECT_TRUE(contains(error_with(R"({"tokenizer_class": "LlamaTokenizer", "eos_token": "<|end|>"})"), "eos_token"));
  EXPECT_TRUE(contains(
      error_with(R"({"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {"9999": {"content": "<|end|>"}}})"),
      "9999"));
}

// Long texts are looked at in windows, which must not end between letters that normalisation makes one of.
TEST(SentencePieceTokenizer, T4_RunsOfUnknownLettersThatNormalisationComposesAreOneToken) {
  const auto tokenizer = load_tokenizer(test::kData / "pipeline/spm-t5");
  for (const char* unit : {"☃e\u0301", "^^e\u0301", "^☃e\u0301"}) {
    for (std::size_t bytes = 9000; bytes < 9020; ++bytes) {
      EXPECT_EQ(tokenizer->encode(test::repeated(unit, bytes) + "the"),
                tokenizer->encode(test::repeated(unit, 60) + "the"))
          << unit;
    }
  }
}

TEST(SentencePieceTokenizer, CleansUpWhereItIsTold) {
  const Scratch directory;
  test::write_bytes(directory.path() / "tokenizer.model",
                    test::read_bytes(test::kData / "pipeline/spm-llama/tokenizer.model"));
  const auto decoded = [&](const std::string& config) {
    test::write_bytes(directory.path() / "tokenizer_config.json", config);
    const auto tokenizer = load_tokenizer(directory.path());
    const auto stream = tokenizer->stream();
    const Ids ids = tokenizer->encode("we are here , are n't we ?");
    std::string text;
    for (const std::int32_t id : ids) text += stream->add(id);
    EXPECT_EQ(text + stream->finish(), tokenizer->decode(ids));
    return tokenizer->decode(ids);
  };
  EXPECT_EQ(decoded(R"({"tokenizer_class": "LlamaTokenizer"})"), "we are here , are n't we ?");
  EXPECT_EQ(decoded(R"({"tokenizer_class": "LlamaTokenizer", "clean_up_tokenization_spaces": true})"),
            "we are here, aren't we?");
}

TEST(SentencePieceTokenizer, AddsTokensBehindTheModel) {
  const Scratch directory;
  test::write_bytes(directory.path() / "tokenizer.model",
                    test::read_bytes(test::kData / "pipeline/spm-llama/tokenizer.model"));
  test::write_bytes(directory.path() / "tokenizer_config.json",
                    R"({"tokenizer_class": "LlamaTokenizer", "eos_token": "<|end|>",
    "added_tokens_decoder": {"460": {"content": "<|end|>", "special": true, "normalized": false}}})");
  const auto tokenizer = load_tokenizer(directory.path());
  EXPECT_EQ(tokenizer->special().eos, 460);
  EXPECT_EQ(tokenizer->encode("<|end|>"), (Ids{1, 460}));
  EXPECT_EQ(tokenizer->vocab_size(), 461);
}

}  // namespace
}  // namespace rapt
