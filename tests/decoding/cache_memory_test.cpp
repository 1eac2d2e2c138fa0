#include "decoding/cache_memory.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "decoding/model_stepper.h"
#include "families/checkpoint.h"

namespace rapt::decoding {
namespace {

const std::string data = RAPT_TEST_DATA;

std::string refusal(const Transformer& model, const CacheDemand& demand, std::optional<std::uint64_t> free) {
  try {
    require_room(model, demand, free);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CacheMemory, IsCountedByTokensAndTexts) {
  const auto model = load_model(data + "/llama-tiny");
  const auto of_token = static_cast<std::uint64_t>(model->cache_size().of_token);
  EXPECT_GT(of_token, 0U);
  EXPECT_EQ(cache_bytes(*model, {.tokens = 100}), 400 * of_token);
  EXPECT_EQ(cache_bytes(*model, {.texts = 3, .tokens = 100, .dtype = DType::bf16}), 600 * of_token);
  const auto linear = load_model(data + "/llama-tiny", DType::f32, parse_attention_rules("linear elu"));
  EXPECT_EQ(linear->cache_size().of_token, 0);
  EXPECT_EQ(cache_bytes(*linear, {.texts = 3, .tokens = 100, .dtype = DType::bf16}),
            cache_bytes(*linear, {.texts = 3, .tokens = 1'000'000}));
}

TEST(CacheMemory, AnEncoderDecoderKeepsItsSources) {
  const auto model = load_model(data + "/t5-tiny");
  const CacheSize size = model->cache_size();
  EXPECT_EQ(size.of_token, 2 * 2 * 4 * 6) << "2 layers, keys and values of 4 heads of 6";
  EXPECT_EQ(size.of_source_token, size.of_token);
  const auto elements = static_cast<std::uint64_t>(size.of_token * 3 * 100 + size.of_source_token * 40);
  EXPECT_EQ(cache_bytes(*model, {.texts = 3, .tokens = 100, .source_tokens = 40}), 4 * elements);
  EXPECT_EQ(cache_bytes(*model, {.texts = 3, .tokens = 100, .source_tokens = 40, .dtype = DType::bf16}), 2 * elements);
  EXPECT_EQ(load_model(data + "/llama-tiny")->cache_size().of_source_token, 0);
}

/// The estimate is of the size of what the arena really comes to.
TEST(CacheMemory, ActivationsAreEstimated) {
  const auto model = load_model(data + "/t5-tiny");
  Context ctx({.threads = 1});
  const std::vector<std::vector<std::int32_t>> sources(64, std::vector<std::int32_t>(100, 7));
  ModelStepper stepper(ctx, *model, RaggedTokens::of(sources), {.max_hypotheses = 64, .capacity = 8});
  stepper.step(ctx, RaggedTokens::of(std::vector<std::vector<std::int32_t>>(64, {0})));
  const auto estimate = static_cast<double>(activation_bytes(*model, {.texts = 64, .source_tokens = 6400}) +
                                            cache_bytes(*model, {.texts = 64, .source_tokens = 6400}));
  EXPECT_NEAR(static_cast<double>(ctx.arena.reserved()) / estimate, 1, 0.5);
}

TEST(CacheMemory, WhatDoesNotFitIsRefusedWithSizesAndAdvice) {
  const auto model = load_model(data + "/llama-tiny");
  const CacheDemand demand{.texts = 2, .tokens = 1'000'000'000};
  const std::uint64_t bytes = cache_bytes(*model, demand);
  EXPECT_EQ(refusal(*model, demand, bytes), "");
  EXPECT_EQ(refusal(*model, demand, std::nullopt), "");
  const std::string message = refusal(*model, demand, bytes - 1);
  for (const char* part : {"2 texts of 1000000000 tokens take ", " GB in f32, and ", "--cache bf16", "texts at once"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(refusal(*model, {.tokens = 1'000'000'000, .dtype = DType::bf16}, 1).find("--cache"), std::string::npos);
}

TEST(CacheMemory, AContextTakesHalfOfWhatIsFree) {
  const auto model = load_model(data + "/llama-tiny");
  const std::uint64_t of_token = cache_bytes(*model, {.tokens = 1});
  EXPECT_EQ(tokens_with_room(*model, 8192, DType::f32, std::nullopt), 8192);
  EXPECT_EQ(tokens_with_room(*model, 8192, DType::f32, 2 * 8192 * of_token), 8192);
  EXPECT_EQ(tokens_with_room(*model, 8192, DType::f32, 2 * 8192 * of_token - 1), 8192 - 256);
  EXPECT_EQ(tokens_with_room(*model, 8192, DType::bf16, 2 * 4096 * of_token), 8192);
  EXPECT_EQ(tokens_with_room(*model, 8192, DType::f32, 1), 256) << "then the memory is refused";
  EXPECT_EQ(tokens_with_room(*model, 100, DType::f32, 1), 100);
}

}  // namespace
}  // namespace rapt::decoding
