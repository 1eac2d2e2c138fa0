// Batches of translations and the memory they take.
#include "decoding/translation.h"

#include <gtest/gtest.h>

#include "families/checkpoint.h"
#include "formats/scratch.h"

namespace rapt::decoding {
namespace {

using Ids = std::vector<std::int32_t>;

const std::vector<Ids> sources{{5, 9, 1}, {7, 8, 9, 10, 11, 12, 13, 14, 1}, {6, 1}, {20, 21, 22, 23, 1}, {30, 1}};

class TranslationMemory : public testing::TestWithParam<const char*> {
 protected:
  struct Result {
    std::vector<Ids> tokens;
    int batches = 0;
  };

  /// With so much free memory, which is asked for once a batch.
  Result translate_with(std::optional<std::uint64_t> free, TranslationOptions options = {}) const {
    Result result;
    options.free_memory = [&] {
      ++result.batches;
      return free;
    };
    Context ctx({.threads = 1});
    for (const auto& hypotheses : translate(ctx, *model_, sources, options))
      result.tokens.push_back(hypotheses.front().tokens);
    return result;
  }

  std::unique_ptr<Transformer> model_ = load_model(std::string(RAPT_TEST_DATA) + "/" + GetParam());
};

/// What one sentence alone takes is enough for all of them, one after the other.
TEST_P(TranslationMemory, BatchesAreWhatTheMemoryHolds) {
  const Result all = translate_with(std::nullopt);
  EXPECT_EQ(all.batches, 1);
  std::uint64_t enough = 1 << 10;
  Result alone;
  for (bool fits = false; !fits; enough += enough / 8) {
    try {
      alone = translate_with(enough);
      fits = true;
    } catch (const Error&) {
    }
  }
  EXPECT_GE(alone.batches, 3);
  EXPECT_EQ(alone.tokens, all.tokens);
  const Result roomy = translate_with(std::uint64_t{1} << 40);
  EXPECT_EQ(roomy.batches, 1);
  EXPECT_EQ(roomy.tokens, all.tokens);
  EXPECT_EQ(translate_with(std::uint64_t{1} << 40, {.batch_tokens = 9}).batches, 3);
}

TEST_P(TranslationMemory, ALineThatDoesNotFitIsNamed) {
  const auto in_vain = [&](const TranslationOptions& options) { return [=, this] { translate_with(1000, options); }; };
  EXPECT_TRUE(refuses(in_vain({}), "line 2: 9 tokens with a beam of 4 take ", " GB of memory are free: use a smaller ",
                      "--beam"));
  EXPECT_TRUE(refuses(in_vain({.beam = 1, .lines = {11, 12, 13, 14, 15}}), "line 12: 9 tokens with a beam of 1 take ",
                      "break the line into shorter ones, or free some memory"));
}

INSTANTIATE_TEST_SUITE_P(, TranslationMemory, testing::Values("marian-tiny", "t5-tiny"),
                         [](const auto& parameter) { return std::string(parameter.param).substr(0, 2); });

}  // namespace
}  // namespace rapt::decoding
