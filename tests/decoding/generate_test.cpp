#include "decoding/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "decoding/fake_model.h"

namespace rapt::decoding {
namespace {

constexpr std::int32_t end_of_text = 2;

std::vector<Generation> run(const Model& model, const RaggedTokens& prompts, const GenerationOptions& options,
                            int threads = 1, const OnToken& on_token = {}) {
  Context ctx({.threads = threads});
  FakeStepper stepper(model, prompts.sequences.count());
  return generate(ctx, stepper, prompts, options, on_token);
}

void expect_same(const std::vector<Generation>& a, const std::vector<Generation>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].finish, b[i].finish);
  }
}

TEST(Generate, ATextDoesNotDependOnItsBatchNorOnThreads) {
  const Model model = hash_model(100, end_of_text, 2.0f);
  std::vector<Tokens> prompts;
  for (std::int32_t i = 0; i < 12; ++i) prompts.push_back(Tokens(static_cast<std::size_t>(1 + i % 4), 10 + i));
  for (const SamplingOptions& sampling :
       {SamplingOptions{}, SamplingOptions{.temperature = 0}, SamplingOptions{.top_p = 0.9},
        SamplingOptions{.repetition_penalty = 1.3, .temperature = 0.8, .top_k = 20}}) {
    GenerationOptions options{.sampling = sampling, .stop = {end_of_text}, .max_tokens = 30};
    const auto together = run(model, RaggedTokens::of(prompts), options);
    for (int threads = 2; threads <= 4; ++threads) {
      expect_same(run(model, RaggedTokens::of(prompts), options, threads), together);
    }
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      options.streams = {i};
      expect_same(run(model, RaggedTokens::of(std::vector<Tokens>{prompts[i]}), options), {together[i]});
    }
  }
}

TEST(Generate, TemperatureZeroIsGreedy) {
  const Model model = hash_model(60, end_of_text);
  const auto texts = run(model, first_tokens({5, 6}), {.sampling = {.temperature = 0}, .max_tokens = 9});
  for (std::int32_t i = 0; i < 2; ++i) {
    Tokens text{5 + i};
    for (int step = 0; step < 9; ++step) {
      const std::vector<float> logits = model(text);
      text.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
    }
    EXPECT_EQ(texts[static_cast<std::size_t>(i)].tokens, Tokens(text.begin() + 1, text.end()));
    EXPECT_EQ(texts[static_cast<std::size_t>(i)].finish, Finish::length);
  }
}

/// Counts up from its last token.
Model counting(std::int32_t vocab) {
  return [=](const Tokens& text) {
    std::vector<float> logits(static_cast<std::size_t>(vocab));
    logits[static_cast<std::size_t>((text.back() + 1) % vocab)] = 100;
    return logits;
  };
}

TEST(Generate, StopTokensEndATextWhichLeavesTheBatch) {
  Context ctx({.threads = 1});
  FakeStepper stepper(counting(20), 3);
  const auto texts = generate(ctx, stepper, first_tokens({4, 9, 1}), {.stop = {7, 12}, .max_tokens = 4});
  EXPECT_EQ(texts[0].tokens, (Tokens{5, 6}));
  EXPECT_EQ(texts[1].tokens, (Tokens{10, 11}));
  EXPECT_EQ(texts[2].tokens, (Tokens{2, 3, 4, 5}));
  EXPECT_EQ(texts[0].finish, Finish::stop);
  EXPECT_EQ(texts[1].finish, Finish::stop);
  EXPECT_EQ(texts[2].finish, Finish::length);
  EXPECT_EQ(stepper.stepped, (Tokens{3, 3, 3, 1}));
  EXPECT_EQ(stepper.reorders, 1);
}

TEST(Generate, StreamsEachTokenInOrderAndCanBeCancelled) {
  std::vector<std::pair<std::int32_t, std::int32_t>> seen;
  const auto texts = run(counting(20), first_tokens({4, 9, 1}), {.stop = {7}, .max_tokens = 4}, 2,
                         [&](std::int32_t sequence, std::int32_t token) {
                           seen.emplace_back(sequence, token);
                           return token != 11;
                         });
  EXPECT_EQ(seen, (std::vector<std::pair<std::int32_t, std::int32_t>>{
                      {0, 5}, {1, 10}, {2, 2}, {0, 6}, {1, 11}, {2, 3}, {2, 4}, {2, 5}}));
  EXPECT_EQ(texts[1].tokens, (Tokens{10, 11}));
  EXPECT_EQ(texts[1].finish, Finish::cancelled);
  EXPECT_EQ(texts[2].finish, Finish::length);
}

TEST(Generate, WhatTheCallerThrowsPassesThrough) {
  EXPECT_THROW(run(counting(20), first_tokens({4}), {}, 1,
                   [](std::int32_t, std::int32_t) -> bool { throw std::out_of_range("the reader is gone"); }),
               std::out_of_range);
}

TEST(Generate, NeverOutgrowsTheModel) {
  Context ctx({.threads = 1});
  FakeStepper stepper(counting(20), 2, 6);
  const auto texts = generate(ctx, stepper, {{3, 1, 2, 3, 4}, Sequences({0, 1, 5})}, {});
  EXPECT_EQ(texts[0].tokens.size(), 5u);
  EXPECT_EQ(texts[1].tokens.size(), 2u);
}

TEST(Generate, TheRepetitionPenaltySeesThePrompt) {
  const Model flat = [](const Tokens&) { return std::vector<float>{1, 1, 1, 1}; };
  const auto texts = run(flat, {{0, 1}, Sequences({0, 2})},
                         {.sampling = {.repetition_penalty = 2, .temperature = 0}, .max_tokens = 3});
  EXPECT_EQ(texts[0].tokens, (Tokens{2, 3, 0}));
}

/// Texts of one prompt with the streams that they would have alone, from one reading of the prompt.
TEST(Generate, SamplesShareTheReadingOfTheirPrompt) {
  const Model model = hash_model(50, end_of_text, 1.0f);
  const std::vector<Tokens> prompts{{4, 9, 1}, {7}};
  GenerationOptions options;
  options.stop = {end_of_text};
  options.max_tokens = 12;
  options.samples = 5;
  Context ctx({.threads = 2});
  FakeStepper stepper(model, 2);
  const auto texts = generate(ctx, stepper, RaggedTokens::of(prompts), options);
  ASSERT_EQ(texts.size(), 10U);
  EXPECT_EQ(stepper.stepped[0], 2);
  options.samples = 1;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    options.streams = {i};
    expect_same(run(model, RaggedTokens::of(std::vector<Tokens>{prompts[i / 5]}), options), {texts[i]});
  }
  EXPECT_NE(texts[0].tokens, texts[1].tokens);
}

TEST(Generate, TellsTheLogProbabilityOfEachToken) {
  const Model model = hash_model(50, end_of_text, 3.0f);
  GenerationOptions options;
  options.sampling.repetition_penalty = 1.5;
  options.sampling.top_k = 9;
  options.stop = {end_of_text};
  options.max_tokens = 20;
  options.samples = 4;
  options.log_probabilities = true;
  int ended = 0;
  for (const Generation& text : run(model, first_tokens({4}), options)) {
    Tokens written = text.tokens;
    if (text.end) written.push_back(*text.end);
    EXPECT_EQ(text.end.has_value(), text.finish == Finish::stop);
    ended += text.end.has_value();
    ASSERT_EQ(text.log_probabilities.size(), written.size());
    Tokens before{4};
    for (std::size_t i = 0; i < written.size(); ++i) {
      EXPECT_NEAR(text.log_probabilities[i], log_softmax(model(before))[static_cast<std::size_t>(written[i])], 1e-5);
      before.push_back(written[i]);
    }
  }
  EXPECT_GT(ended, 0);
}

TEST(Generate, GoesOnFromWhatTheModelHoldsAlready) {
  const Model model = hash_model(50, end_of_text);
  GenerationOptions options;
  options.sampling.repetition_penalty = 1.2;
  options.max_tokens = 8;
  const RaggedTokens prompt{{4, 9, 1, 30}, Sequences({0, 4})};
  Context ctx({.threads = 1});
  FakeStepper stepper(model, 1);
  stepper.step(ctx, {{4, 9}, Sequences({0, 2})});
  expect_same(generate(ctx, stepper, prompt, options), run(model, prompt, options));
  EXPECT_EQ(stepper.length(0), 4 + 7);
  EXPECT_THROW(generate(ctx, stepper, prompt, options), Error) << "it holds more than the prompt";
}

TEST(Generate, NothingInNothingOut) {
  EXPECT_TRUE(run(counting(20), {}, {}).empty());
}

std::string error_of(const GenerationOptions& options, const Model& model = counting(20)) {
  try {
    run(model, first_tokens({4}), options, 2);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Generate, OptionsThatMakeNoSenseAreErrorsThatNameThem) {
  EXPECT_EQ(error_of({.sampling = {.top_p = 0}}).find("top_p:"), 0u);
  EXPECT_EQ(error_of({.stop = {20}}).find("stop:"), 0u);
  EXPECT_EQ(error_of({.max_tokens = 0}).find("max_tokens:"), 0u);
  EXPECT_EQ(error_of({.streams = {1, 2}}).find("streams:"), 0u);
  EXPECT_EQ(error_of({.samples = 0}).find("samples:"), 0u);
}

TEST(Generate, LogitsThatAreNoNumbersAreAnErrorThatNamesTheStep) {
  const Model breaks = [](const Tokens& text) {
    return std::vector<float>(20, text.size() == 4 ? std::numeric_limits<float>::quiet_NaN() : 0.0f);
  };
  EXPECT_EQ(error_of({}, breaks).find("step 4: the model's logits hold NaN"), 0u) << error_of({}, breaks);
}

}  // namespace
}  // namespace rapt::decoding
