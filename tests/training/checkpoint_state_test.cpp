#include "training/checkpoint_state.h"

#include <gtest/gtest.h>

#include "formats/scratch.h"

namespace rapt::training {
namespace {

RunRecord a_record() {
  return {
      .recipe = "tiny",
      .settings = settings_of(find_recipe("tiny")),
      .files = {{"source", "a.en", {.bytes = 10, .crc32 = 0xdeadbeef}}, {"target", "a.de", {.bytes = 12, .crc32 = 1}}},
      .dev_fraction = 0,
      .skip_invalid = false};
}

TEST(TrainingState, ComesBackFromItsTextBitForBit) {
  const TrainingState state{.step = 1234,
                            .next = {.epoch = 3, .batch = 17},
                            .updates = 1230,
                            .target_tokens = 1'000'000'000'007,
                            .source_tokens = 5,
                            .skipped = 4,
                            .skipped_in_row = 1,
                            .best = -(0.1 + 0.2),
                            .best_step = 1000,
                            .validated_step = 1200,
                            .without_improvement = 2,
                            .snapshots = {{1000, {.bytes = 5, .crc32 = 0xffffffff}}, {1200, {.bytes = 6, .crc32 = 7}}},
                            .seconds = 1.0 / 3,
                            .journal_bytes = 99};
  const std::string text = state_text(state, a_record());
  const StoredState stored = parse_state(JsonObject::parse(text, "training.json"));
  EXPECT_EQ(state_text(stored.state, stored.record), text);
  EXPECT_EQ(stored.state.best, state.best);
  EXPECT_EQ(stored.state.seconds, state.seconds);
  EXPECT_EQ(stored.state.snapshots[0].digest, state.snapshots[0].digest);
}

TEST(TrainingState, IsReadStrictly) {
  const std::string text = state_text({}, a_record());
  const auto changed = [&](std::string_view from, std::string_view to) {
    std::string copy = text;
    copy.replace(copy.find(from), from.size(), to);
    return copy;
  };
  const auto parse = [](const std::string& json) { parse_state(JsonObject::parse(json, "training.json")); };
  EXPECT_TRUE(refuses([&] { parse(changed("\"version\": 1", "\"version\": 2")); }, "version 2"));
  EXPECT_TRUE(refuses([&] { parse(changed("\"step\": 0", "\"step\": -1")); }, "training.json", "step"));
  EXPECT_TRUE(refuses([&] { parse(changed("\"skipped\": 0", "\"jumped\": 0")); }, "skipped"));
}

TEST(RunRecord, GivesTheRecipeBack) {
  RunRecord record = a_record();
  record.settings["learning-rate"] = "0.25";
  const Recipe recipe = recipe_of(record, "training.json");
  EXPECT_EQ(recipe.schedule.learning_rate, 0.25);
  EXPECT_EQ(settings_of(recipe), record.settings);
  record.settings.erase("clip");
  EXPECT_TRUE(refuses([&] { recipe_of(record, "training.json"); }, "training.json", "\"clip\""));
  record.settings["colour"] = "blue";
  EXPECT_TRUE(refuses([&] { recipe_of(record, "training.json"); }, "\"colour\""));
}

/// K4: a run is not continued with another text or other numbers.
TEST(RunRecord, NamesWhatDiffers) {
  const RunRecord before = a_record();
  EXPECT_NO_THROW(require_same_run(before, before));
  RunRecord now = before;
  now.settings["learning-rate"] = "0.001";
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "--learning-rate 0.003", "0.001"));
  now = before;
  now.files[1].digest.crc32 = 2;
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "--target a.de", "not the text"));
  now = before;
  now.files.pop_back();
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "--target"));
  now = before;
  now.files.push_back({"dev-source", "c", {}});
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "2 files", "3"));
  now = before;
  now.recipe = "base";
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "--recipe tiny", "base"));
  now = before;
  now.dev_fraction = 0.1;
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "--dev-fraction"));
  now = before;
  now.skip_invalid = true;
  EXPECT_TRUE(refuses([&] { require_same_run(before, now); }, "without --skip-invalid"));
}

TEST(RunRecord, MayChangeItsLimits) {
  const RunRecord before = a_record();
  RunRecord now = before;
  now.settings["steps"] = "20000";
  now.settings["patience"] = "0";
  now.settings["save-every"] = "7";
  now.files[0].path = "elsewhere/a.en";
  EXPECT_NO_THROW(require_same_run(before, now));
}

}  // namespace
}  // namespace rapt::training
