#include "training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "families/checkpoint.h"
#include "formats/scratch.h"
#include "text/character_tokenizer.h"
#include "training/toy.h"

namespace rapt::training {
namespace {

constexpr std::int32_t vocab = 20;
constexpr std::int32_t eos = 0;
constexpr std::int32_t pad = vocab - 1;
constexpr std::int32_t poison = vocab - 2;

ModelConfig tiny_config() {
  return {.family = "marian",
          .vocab = vocab,
          .source_vocab = vocab,
          .d_model = 16,
          .encoder_layers = 1,
          .decoder_layers = 1,
          .encoder_heads = 2,
          .decoder_heads = 2,
          .encoder_ff = 32,
          .decoder_ff = 32,
          .max_positions = 64,
          .shared_embeddings = false,
          .pad = pad,
          .eos = eos,
          .decoder_start = pad,
          .dropout = 0,
          .embedding_dropout = 0};
}

/// Pairs that copy; those in `poisoned` lines (from 1) have the poison token in their source.
ParallelTokens copying_pairs(int count, const std::vector<std::int64_t>& poisoned) {
  RandomSequence random(4);
  ParallelTokens pairs;
  for (std::int64_t line = 1; line <= count; ++line) {
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(1 + static_cast<std::int32_t>(random.below(poison - 1)));
    ids.push_back(eos);
    pairs.target.add(ids);
    if (std::ranges::find(poisoned, line) != poisoned.end()) ids[0] = poison;
    pairs.source.add(ids);
    pairs.lines.push_back(line);
  }
  return pairs;
}

Recipe tiny_recipe(const Settings& settings) {
  Recipe recipe = find_recipe("tiny");
  recipe.checkpoints = {.every = 0};
  recipe.batches = {.tokens = 12, .max_length = 8};
  recipe.schedule = {.kind = ScheduleKind::constant, .learning_rate = 1e-3};
  return resolve_recipe(recipe, settings);
}

/// A model whose source embedding has a NaN in the row of the poison token: batches with it have no finite loss.
class PoisonedRun {
 public:
  PoisonedRun(const Recipe& recipe, const std::vector<std::int64_t>& poisoned)
      : recipe_(recipe), pairs_(copying_pairs(10, poisoned)), batches_(pairs_, recipe.batches, pad, recipe.seed) {
    model_.initialize(recipe.seed);
    for (const Parameter& parameter : model_.parameters()) {
      if (parameter.name != "source_embedding.weight") continue;
      parameter.value().write<float>()[poison * 16] = std::numeric_limits<float>::quiet_NaN();
      parameter.weight->changed();
    }
  }

  Outcome run() {
    Optimizer optimizer(model_.parameters(), recipe_.optimizer);
    Trainer trainer(recipe_, {},
                    {.ctx = ctx_,
                     .model = model_,
                     .optimizer = optimizer,
                     .batches = batches_,
                     .store = store_,
                     .journal = journal_,
                     .observer = listener_,
                     .stop = [] { return false; }},
                    {});
    return trainer.run();
  }

  const Listener& listener() const { return listener_; }
  /// Numbers that are not finite, the injected one included.
  int count_non_finite() const {
    int count = 0;
    for (const Parameter& parameter : model_.parameters()) {
      for (const float value : parameter.value().values<float>()) count += std::isfinite(value) ? 0 : 1;
    }
    return count;
  }

 private:
  Scratch scratch_;
  Recipe recipe_;
  Context ctx_{{.threads = 1}};
  ParallelTokens pairs_;
  PairBatches batches_;
  Transformer model_{tiny_config()};
  std::unique_ptr<Tokenizer> tokenizer_ = CharacterTokenizer::of_text("abc");
  CheckpointStore store_{scratch_.path(), *tokenizer_};
  Journal journal_{scratch_ / "train.jsonl", 0};
  Listener listener_;
};

/// N1: a batch without a finite loss changes nothing and is counted.
TEST(Trainer, SkipsStepsThatAreNotFinite) {
  PoisonedRun run(tiny_recipe({{"epochs", "3"}}), {3});
  run.run();
  const auto& steps = run.listener().steps;
  ASSERT_EQ(steps.size(), 15u) << "two pairs a batch";
  EXPECT_EQ(std::ranges::count_if(steps, &StepRecord::skipped), 3);
  EXPECT_EQ(steps.back().skipped_so_far, 3);
  EXPECT_EQ(run.count_non_finite(), 1);
  ASSERT_EQ(run.listener().warnings.size(), 3u);
  EXPECT_NE(run.listener().warnings[1].find("epoch 2, batch "), std::string::npos) << run.listener().warnings[1];
  EXPECT_NE(run.listener().warnings[1].find("3"), std::string::npos);
  for (const StepRecord& step : steps) EXPECT_EQ(step.skipped, !std::isfinite(step.loss));
}

/// N1: too many of them in a row end the run, naming the batch.
TEST(Trainer, StopsAfterTooManyStepsThatAreNotFinite) {
  PoisonedRun run(tiny_recipe({{"epochs", "3"}}), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  EXPECT_TRUE(refuses([&] { run.run(); }, "5 steps in a row", "step 5", "epoch 1, batch 5 (lines ", "--learning-rate"));
  EXPECT_EQ(run.listener().steps.size(), 5u);
  EXPECT_EQ(run.count_non_finite(), 1);
}

TEST(Trainer, CountsBadStepsInARowOnly) {
  PoisonedRun run(tiny_recipe({{"epochs", "6"}, {"max-bad-steps", "3"}}), {3});
  EXPECT_NO_THROW(run.run());
}

/// Accumulated batches weigh by their tokens: two of them make the step of their union.
TEST(Trainer, AccumulatesToTheMeanOverAllTokens) {
  const auto trained = [](const Settings& settings) {
    PoisonedRun run(tiny_recipe(settings), {});
    run.run();
    return run.listener().steps;
  };
  const auto whole = trained({{"steps", "1"}, {"batch-tokens", "60"}});
  const auto parts = trained({{"steps", "1"}, {"batch-tokens", "12"}, {"accumulate", "5"}});
  EXPECT_EQ(whole[0].target_tokens, parts[0].target_tokens);
  EXPECT_NEAR(whole[0].loss, parts[0].loss, 1e-6);
  EXPECT_NEAR(whole[0].gradient_norm, parts[0].gradient_norm, 1e-5);
}

}  // namespace
}  // namespace rapt::training
