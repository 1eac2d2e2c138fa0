#include "view/read_text.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "families/checkpoint.h"

namespace rapt::view {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

TEST(ReadText, ShowsEveryPieceAndLayerOfALanguageModel) {
  const auto model = map_model(data / "words-tiny");
  const auto tokenizer = load_tokenizer(data / "words-tiny");
  Context ctx({.threads = 1});
  const auto tokens = tokenizer->encode("The bank of <the> river");
  const std::string page = page_of_reading(ctx, *model, *tokenizer, tokens, data / "words-tiny/");
  EXPECT_NE(page.find("words-tiny"), std::string::npos);
  EXPECT_NE(page.find("decoder"), std::string::npos);
  EXPECT_EQ(page.find("<the>"), std::string::npos);
  Context other({.threads = 2});
  EXPECT_EQ(page, page_of_reading(other, *model, *tokenizer, tokens, data / "words-tiny/"));
  EXPECT_EQ(ctx.trace, nullptr);
}

TEST(ReadText, RefusesOtherModels) {
  const auto model = map_model(data / "embed-tiny");
  const auto tokenizer = load_tokenizer(data / "embed-tiny");
  Context ctx;
  EXPECT_THROW(page_of_reading(ctx, *model, *tokenizer, tokenizer->encode("a"), "x"), Error);
}

}  // namespace
}  // namespace rapt::view
