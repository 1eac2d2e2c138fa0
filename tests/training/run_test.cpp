#include "training/run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "families/checkpoint.h"
#include "training/toy.h"

namespace rapt::training {
namespace {

/// What a run left behind, without what tells the time (and checksums of that), and of its checkpoints the last.
std::map<std::string, std::string> results_of(const std::filesystem::path& output) {
  auto files = files_under(output);
  std::string last;
  for (const auto& [name, contents] : files) {
    if (name.starts_with("checkpoints/step-")) last = name.substr(0, name.rfind('/'));
  }
  std::erase_if(files, [&](const auto& file) {
    return file.first.ends_with("rapt.json") ||
           (file.first.starts_with("checkpoints/") && !file.first.starts_with(last));
  });
  for (auto& [name, contents] : files) {
    if (name.ends_with("training.json"))
      contents = std::regex_replace(contents, std::regex("\"(seconds|journal_bytes)\": [^,\n]*"), "");
    if (name == "train.jsonl")
      contents = std::regex_replace(
          contents, std::regex("\"(target_tokens_per_second|gflops|seconds|total_seconds)\":[^,}]*"), "");
  }
  return files;
}

void expect_same_results(const std::filesystem::path& one, const std::filesystem::path& other) {
  const auto first = results_of(one);
  const auto second = results_of(other);
  for (const auto& [name, contents] : first) {
    ASSERT_TRUE(second.contains(name)) << name << " is missing";
    EXPECT_TRUE(second.at(name) == contents) << name << " differs";
  }
  for (const auto& [name, contents] : second) EXPECT_TRUE(first.contains(name)) << name << " is too much";
}

const Settings short_run{{"steps", "12"}, {"validate-every", "4"}, {"save-every", "3"}, {"average", "3"}};

TEST(Run, LeavesAModelDirectory) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Listener listener;
  const Outcome outcome = run_toy(toy_request(files, scratch / "out", short_run), listener);
  EXPECT_EQ(outcome.ending, Ending::steps);
  EXPECT_EQ(outcome.step, 12);
  EXPECT_EQ(listener.steps.size(), 12u);
  EXPECT_EQ(listener.validations.size(), 4u) << "three on schedule, one of the average";
  EXPECT_LT(listener.steps.back().nll, listener.steps.front().nll);
  EXPECT_TRUE(listener.warnings.empty());

  const auto model = load_model(scratch / "out");
  const auto tokenizer = load_tokenizer(scratch / "out");
  EXPECT_EQ(model->config().vocab, tokenizer->vocab_size());
  for (const char* name : {"best", "average", "checkpoints/step-00000009", "checkpoints/step-00000012"})
    EXPECT_NO_THROW(load_model(scratch / "out" / name)) << name;
  EXPECT_FALSE(std::filesystem::exists(scratch / "out" / "checkpoints" / "step-00000006"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "out" / "training.json"));
}

/// K6: N steps = some + resume + the rest, bit for bit, in every file.
TEST(Run, ResumesBitForBit) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  run_toy(toy_request(files, scratch / "straight", short_run));
  for (const std::size_t stop_after : {1u, 5u, 6u, 11u}) {
    const auto output = scratch / ("stopped-" + std::to_string(stop_after));
    Listener listener;
    const Outcome stopped = run_toy(toy_request(files, output, short_run), listener, stop_after);
    EXPECT_EQ(stopped.ending, Ending::stopped);
    EXPECT_FALSE(std::filesystem::exists(output / "model.safetensors"));
    Listener rest;
    run_toy(
        {.output = output, .files = {}, .recipe = "", .settings = {}, .resume = true, .threads = 1, .gauge_seconds = 0},
        rest);
    EXPECT_EQ(rest.steps.size(), 12 - stop_after);
    SCOPED_TRACE(output.string());
    expect_same_results(scratch / "straight", output);
  }
}

/// The same for a language model, in bfloat16, with clipping, accumulation and weight decay.
TEST(Run, ResumesALanguageModelBitForBit) {
  const Scratch scratch;
  const ToyPairs pairs = toy_pairs(100, 3);
  put(scratch / "text", pairs.source + pairs.target);
  const auto request = [&](const std::string& name) {
    return RunRequest{.output = scratch / name,
                      .files = {.pairs = {}, .dev_pairs = {}, .text = scratch / "text", .dev_text = {}},
                      .recipe = "nanogpt-cpu",
                      .settings = {{"decoder-layers", "2"},
                                   {"d-model", "16"},
                                   {"d-ff", "32"},
                                   {"heads", "2"},
                                   {"dropout", "0.1"},
                                   {"context", "16"},
                                   {"sequences", "4"},
                                   {"accumulate", "2"},
                                   {"precision", "bf16"},
                                   {"steps", "8"},
                                   {"warmup", "2"},
                                   {"save-every", "4"},
                                   {"validate-every", "4"},
                                   {"clip", "0.5"}},
                      .threads = 1,
                      .gauge_seconds = 0};
  };
  run_toy(request("straight"));
  Listener listener;
  run_toy(request("stopped"), listener, 4);
  RunRequest rest = request("stopped");
  rest.resume = true;
  run_toy(rest);
  expect_same_results(scratch / "straight", scratch / "stopped");
  EXPECT_NO_THROW(load_model(scratch / "straight"));
  EXPECT_EQ(load_tokenizer(scratch / "straight")->decode(std::vector<std::int32_t>{0}), "\n");
}

TEST(Run, GivesTheSameBitsForAnyNumberOfThreads) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  RunRequest request = toy_request(files, scratch / "one", short_run);
  run_toy(request);
  request.output = scratch / "two";
  request.threads = 2;
  run_toy(request);
  expect_same_results(scratch / "one", scratch / "two");
}

TEST(Run, DependsOnTheSeed) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Settings settings = short_run;
  run_toy(toy_request(files, scratch / "one", settings));
  settings.emplace_back("seed", "2");
  run_toy(toy_request(files, scratch / "two", settings));
  EXPECT_NE(get(scratch / "one" / "model.safetensors"), get(scratch / "two" / "model.safetensors"));
}

/// K4: a damaged checkpoint is passed over, loudly, and the run goes on from the one before.
TEST(Run, FallsBackFromADamagedCheckpoint) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  run_toy(toy_request(files, scratch / "straight", short_run));
  Listener listener;
  run_toy(toy_request(files, scratch / "out", short_run), listener, 9);
  const auto weights = scratch / "out" / "checkpoints" / "step-00000009" / "model.safetensors";
  std::string bytes = get(weights);
  bytes[bytes.size() / 2] ^= 1;
  put(weights, bytes);

  RunRequest request = toy_request(files, scratch / "out", short_run);
  request.resume = true;
  Listener rest;
  run_toy(request, rest);
  ASSERT_EQ(rest.warnings.size(), 1u);
  EXPECT_NE(rest.warnings[0].find("step-00000009/model.safetensors"), std::string::npos) << rest.warnings[0];
  EXPECT_NE(rest.warnings[0].find("going back to the checkpoint of step 6"), std::string::npos) << rest.warnings[0];
  EXPECT_EQ(rest.steps.size(), 6u);
  std::filesystem::remove_all(scratch / "out" / "checkpoints" / "damaged-step-00000009");
  expect_same_results(scratch / "straight", scratch / "out");
}

TEST(Run, RefusesToStartAfreshWhenEveryCheckpointIsDamaged) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Listener listener;
  run_toy(toy_request(files, scratch / "out", short_run), listener, 4);
  for (const char* step : {"step-00000003", "step-00000004"})
    put(scratch / "out" / "checkpoints" / step / "optimizer.safetensors", "nothing");
  RunRequest request = toy_request(files, scratch / "out", short_run);
  request.resume = true;
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "step-00000003", "step-00000004"));
}

/// K4: another text or other numbers.
TEST(Run, ResumesOnlyTheSameRun) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Listener listener;
  run_toy(toy_request(files, scratch / "out", short_run), listener, 3);
  RunRequest request{.output = scratch / "out",
                     .files = {},
                     .recipe = "",
                     .settings = {},
                     .resume = true,
                     .threads = 1,
                     .gauge_seconds = 0};
  request.settings = {{"learning-rate", "0.5"}};
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "--learning-rate 0.01", "0.5"));
  request.settings = {};
  request.recipe = "small";
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "--recipe tiny", "small"));
  request.recipe = "";
  const std::string source = get(scratch / "train.en");
  put(scratch / "train.en", "cat" + source.substr(source.find(' ')));
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "--source", "not the text"));
  put(scratch / "train.en", source);
  request.settings = {{"steps", "4"}};
  EXPECT_EQ(run_toy(request).step, 4);
}

TEST(Run, CanBeContinuedBeyondItsEnd) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Settings longer = short_run;
  longer[0].second = "18";
  run_toy(toy_request(files, scratch / "straight", longer));
  run_toy(toy_request(files, scratch / "out", short_run));
  run_toy({.output = scratch / "out",
           .files = {},
           .recipe = "",
           .settings = {{"steps", "18"}},
           .resume = true,
           .threads = 1,
           .gauge_seconds = 0});
  EXPECT_EQ(get(scratch / "straight" / "checkpoints" / "step-00000018" / "model.safetensors"),
            get(scratch / "out" / "checkpoints" / "step-00000018" / "model.safetensors"));
}

TEST(Run, RefusesADirectoryThatHoldsSomethingElse) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  RunRequest request = toy_request(files, scratch / "out", short_run);
  Listener listener;
  run_toy(request, listener, 1);
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "is at step 1", "--resume"));
  request.output = scratch / "other";
  std::filesystem::create_directory(request.output);
  put(request.output / "config.json", "{}");
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "already holds a model", "--output"));
  request.output = scratch / "new";
  request.resume = true;
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "no checkpoint", "without --resume"));
}

/// K7: two trainers in one directory.
TEST(Run, ExcludesASecondOne) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  const DirectoryLock lock(scratch / "out");
  EXPECT_TRUE(refuses([&] { run_toy(toy_request(files, scratch / "out", short_run)); }, "already writing there"));
}

TEST(Run, ExplainsWhatIsMissing) {
  const Scratch scratch;
  const TaskFiles pairs = put_toy_files(scratch);
  TaskFiles text;
  text.text = scratch / "train.en";
  EXPECT_TRUE(refuses([&] { run_toy(toy_request({}, scratch / "out", {})); }, "--source", "--text"));
  EXPECT_TRUE(refuses([&] { run_toy(toy_request(text, scratch / "out", {})); }, "--recipe tiny", "translation"));
  RunRequest request = toy_request(pairs, scratch / "out", {{"final", "best"}});
  request.files.dev_pairs.reset();
  EXPECT_TRUE(refuses([&] { run_toy(request); }, "--final best", "--dev-source"));
  EXPECT_TRUE(refuses([&] { run_toy(toy_request(pairs, scratch / "out", {{"vocab-type", "char"}})); }, "char"));
  EXPECT_TRUE(refuses([&] { run_toy(toy_request(pairs, "", {})); }, "--output"));
}

TEST(Run, StopsWhenValidationNoLongerImproves) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  // A rate this small changes next to nothing.
  Listener listener;
  const Outcome outcome = run_toy(toy_request(files, scratch / "out",
                                              {{"learning-rate", "1e-30"},
                                               {"steps", "1000"},
                                               {"patience", "3"},
                                               {"validate-every", "2"},
                                               {"save-every", "0"},
                                               {"average", "0"}}),
                                  listener);
  EXPECT_EQ(outcome.ending, Ending::patience);
  EXPECT_EQ(outcome.step, 8);
  EXPECT_EQ(outcome.best_step, 2);
  EXPECT_EQ(outcome.chosen, FinalModel::best);
}

TEST(Run, EndsAfterItsEpochsOrItsTime) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Listener listener;
  const Outcome epochs = run_toy(toy_request(files, scratch / "epochs", {{"epochs", "2"}}), listener);
  EXPECT_EQ(epochs.ending, Ending::epochs);
  EXPECT_EQ(listener.steps.back().position.epoch, 1);
  EXPECT_DOUBLE_EQ(listener.steps.back().progress, 1);

  Listener timed;
  const Outcome minutes =
      run_toy(toy_request(files, scratch / "minutes",
                          {{"minutes", "0.005"}, {"schedule", "constant"}, {"warmup", "0"}, {"cooldown", "0.5"}}),
              timed);
  EXPECT_EQ(minutes.ending, Ending::minutes);
  EXPECT_DOUBLE_EQ(timed.steps.front().learning_rate, 0.01);
  EXPECT_LT(timed.steps.back().learning_rate, 0.005);
}

TEST(Run, LeavesTheModelThatWasAskedFor) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  for (const char* model : {"average", "best", "last"}) {
    Settings settings = short_run;
    settings.emplace_back("final", model);
    const auto output = scratch / model;
    run_toy(toy_request(files, output, settings));
    const auto directory =
        std::string_view(model) == "last" ? output / "checkpoints" / "step-00000012" : output / model;
    EXPECT_EQ(get(output / "model.safetensors"), get(directory / "model.safetensors")) << model;
  }
}

TEST(Run, AveragesTheLastScheduledCheckpoints) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Settings settings = short_run;
  settings.emplace_back("final", "average");
  run_toy(toy_request(files, scratch / "out", settings));
  const auto snapshot = [&](const char* step) {
    return read_safetensors(scratch / "out" / "snapshots" / ("step-000000" + std::string(step) + ".safetensors"));
  };
  const Safetensors average = read_safetensors(scratch / "out" / "model.safetensors");
  const Safetensors one = snapshot("06");
  const Safetensors two = snapshot("09");
  const Safetensors three = snapshot("12");
  for (const auto& [name, tensor] : average.tensors) {
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      const double sum = static_cast<double>(one.tensors.at(name).data<float>()[i]) +
                         static_cast<double>(two.tensors.at(name).data<float>()[i]) +
                         static_cast<double>(three.tensors.at(name).data<float>()[i]);
      ASSERT_EQ(tensor.data<float>()[i], static_cast<float>(sum / 3)) << name;
    }
  }
}

TEST(Run, TrainsWithAVocabularyForEachLanguage) {
  const Scratch scratch;
  const TaskFiles files = put_toy_files(scratch);
  Settings settings = short_run;
  settings.insert(settings.end(), {{"joint", "no"}, {"vocab-size", "28"}, {"vocab-type", "unigram"}});
  run_toy(toy_request(files, scratch / "out", settings));
  EXPECT_FALSE(load_model(scratch / "out")->config().shared_embeddings);
}

/// Ten sentences are learnt by heart: greedy search writes the translations back.
TEST(Run, LearnsTenSentencesByHeart) {
  const Scratch scratch;
  const ToyPairs pairs = toy_pairs(10, 5);
  put(scratch / "en", pairs.source);
  put(scratch / "de", pairs.target);
  const ParallelFiles files{scratch / "en", scratch / "de"};
  Listener listener;
  run_toy(toy_request({.pairs = files, .dev_pairs = files, .text = {}, .dev_text = {}}, scratch / "out",
                      {{"d-model", "32"},
                       {"d-ff", "64"},
                       {"dropout", "0"},
                       {"steps", "250"},
                       {"batch-tokens", "400"},
                       {"schedule", "constant"},
                       {"learning-rate", "0.003"},
                       {"vocab-size", "50"},
                       {"validate-sentences", "10"},
                       {"validate-every", "250"},
                       {"save-every", "0"},
                       {"average", "0"},
                       {"metric", "bleu"}}),
          listener);
  ASSERT_EQ(listener.validations.size(), 1u);
  EXPECT_DOUBLE_EQ(listener.validations[0].score.bleu.value(), 100);
  EXPECT_DOUBLE_EQ(listener.validations[0].score.chrf.value(), 100);

  const auto model = load_model(scratch / "out");
  const auto tokenizer = load_tokenizer(scratch / "out");
  TranslationTask task{.sources = {}, .references = {}, .decode = [&](std::span<const std::int32_t> ids) {
                         return tokenizer->target().decode(ids);
                       }};
  PairReader reader(files, {});
  while (reader.next()) {
    task.sources.push_back(tokenizer->encode(reader.source()));
    task.references.push_back(reader.target());
  }
  Context ctx({.threads = 1});
  EXPECT_EQ(translate(ctx, *model, task), task.references);
}

}  // namespace
}  // namespace rapt::training
