#include "training/recipe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "formats/scratch.h"
#include "training/run.h"

namespace rapt::training {
namespace {

TEST(Recipe, EveryRecipeIsConsistent) {
  for (const Recipe& recipe : recipes()) {
    Recipe completed = recipe;
    EXPECT_NO_THROW(complete(completed)) << recipe.name;
  }
}

TEST(Recipe, PeakRatesAreThePapers) {
  for (const char* name : {"base", "big"}) {
    const Recipe& recipe = find_recipe(name);
    const double numbers = static_cast<double>(recipe.model.d_model * recipe.schedule.warmup);
    EXPECT_DOUBLE_EQ(recipe.schedule.learning_rate, 1 / std::sqrt(numbers)) << name;
  }
}

TEST(Recipe, EverySettingReadsWhatItWrites) {
  std::set<std::string_view> names;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(names.insert(setting.name).second) << setting.name << " is listed twice";
    for (const Recipe& recipe : recipes()) {
      Recipe copy = find_recipe("base");
      setting.set(copy, setting.get(recipe));
      EXPECT_EQ(setting.get(copy), setting.get(recipe)) << setting.name << " of " << recipe.name;
    }
  }
}

TEST(Recipe, SettingsSaveDoublesExactly) {
  Recipe recipe;
  recipe.schedule.learning_rate = 0.1 + 0.2;
  const Setting& setting = find_setting("learning-rate");
  Recipe copy;
  setting.set(copy, setting.get(recipe));
  EXPECT_EQ(copy.schedule.learning_rate, recipe.schedule.learning_rate);
}

TEST(Recipe, ErrorsNameTheOptionAndTheChoices) {
  Recipe recipe;
  EXPECT_TRUE(refuses([&] { find_recipe("huge"); }, "huge", "tiny, small, base, big, nanogpt-cpu, nanogpt"));
  EXPECT_TRUE(refuses([&] { find_setting("steps").set(recipe, "many"); }, "--steps", "INT", "many"));
  EXPECT_TRUE(refuses([&] { find_setting("steps").set(recipe, "10x"); }, "--steps", "10x"));
  EXPECT_TRUE(refuses([&] { find_setting("learning-rate").set(recipe, ""); }, "--learning-rate", "NUMBER"));
  EXPECT_TRUE(
      refuses([&] { find_setting("schedule").set(recipe, "linear"); }, "--schedule", "constant|inverse-sqrt|cosine"));
}

/// N5: numbers that would hang, divide by zero or never end.
TEST(Recipe, RefusesNumbersThatDoNotFit) {
  using Changes = std::vector<std::pair<std::string, std::string>>;
  const auto resolve = [](const Changes& changes) { resolve_recipe(find_recipe("tiny"), changes); };
  EXPECT_TRUE(refuses([&] { resolve({{"heads", "3"}}); }, "--d-model 128 is not a multiple of --heads 3"));
  EXPECT_TRUE(refuses([&] { resolve({{"steps", "0"}}); }, "never end"));
  EXPECT_TRUE(refuses([&] { resolve({{"steps", "-5"}}); }, "--steps is -5"));
  EXPECT_TRUE(refuses([&] { resolve({{"clip", "-1"}}); }, "--clip"));
  EXPECT_TRUE(refuses([&] { resolve({{"accumulate", "0"}}); }, "--accumulate"));
  EXPECT_TRUE(refuses([&] { resolve({{"dropout", "1"}}); }, "--dropout"));
  EXPECT_TRUE(refuses([&] { resolve({{"learning-rate", "inf"}}); }, "--learning-rate"));
  EXPECT_TRUE(refuses([&] { resolve({{"clip", "nan"}}); }, "--clip"));
  EXPECT_TRUE(refuses([&] { resolve({{"metric", "bleu"}}); }, "--validate-sentences"));
  EXPECT_TRUE(refuses([&] { resolve({{"weight-decay", "0.1"}}); }, "adamw"));
  EXPECT_TRUE(refuses([&] { resolve({{"max-length", "9000"}}); }, "--batch-tokens"));
}

TEST(Recipe, CosineEndsWithTheStepsUnlessToldOtherwise) {
  const Recipe& nanogpt = find_recipe("nanogpt-cpu");
  EXPECT_EQ(resolve_recipe(nanogpt, {}).schedule.decay_steps, 2000);
  EXPECT_EQ(resolve_recipe(nanogpt, {{"steps", "300"}}).schedule.decay_steps, 300);
  EXPECT_EQ(resolve_recipe(nanogpt, {{"steps", "300"}, {"decay-steps", "500"}}).schedule.decay_steps, 500);
}

TEST(Recipe, TimeAloneLimitsARunAndCoolsItDown) {
  const Recipe adam = resolve_recipe(find_recipe("nanogpt-cpu"), {{"optimizer", "adam"}});
  EXPECT_EQ(adam.optimizer.weight_decay, 0);
  const Recipe further = resolve_recipe(fine_tuning_recipe(), {});
  EXPECT_EQ(further.limits.epochs, 3);
  EXPECT_EQ(resolve_recipe(fine_tuning_recipe(), {{"steps", "10"}}).limits.epochs, 0);
  EXPECT_EQ(resolve_recipe(fine_tuning_recipe(), {{"minutes", "10"}}).limits.cooldown, further.limits.cooldown);
  const Recipe timed = resolve_recipe(find_recipe("tiny"), {{"minutes", "10"}});
  EXPECT_EQ(timed.limits.steps, 0);
  EXPECT_DOUBLE_EQ(timed.limits.cooldown, 0.2);
  const Recipe both = resolve_recipe(find_recipe("tiny"), {{"minutes", "10"}, {"steps", "100"}, {"cooldown", "0"}});
  EXPECT_EQ(both.limits.steps, 100);
  EXPECT_DOUBLE_EQ(both.limits.cooldown, 0);
}

}  // namespace
}  // namespace rapt::training
