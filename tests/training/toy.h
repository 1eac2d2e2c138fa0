/// A language to learn in seconds, and runs that learn it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "formats/scratch.h"
#include "training/run.h"

namespace rapt::training {

/// Sentences of two to five words, and their translations: each word by another, in reverse order.
struct ToyPairs {
  std::string source;
  std::string target;
};

inline ToyPairs toy_pairs(int count, std::uint64_t seed) {
  const std::vector<std::pair<std::string, std::string>> words{{"one", "eins"}, {"two", "zwei"},    {"three", "drei"},
                                                               {"red", "rot"},  {"green", "gruen"}, {"blue", "blau"},
                                                               {"dog", "hund"}, {"cat", "katze"},   {"bird", "vogel"}};
  RandomSequence random(seed);
  ToyPairs pairs;
  for (int i = 0; i < count; ++i) {
    std::string source;
    std::string target;
    for (std::uint64_t left = 2 + random.below(4); left > 0; --left) {
      const auto& [word, translation] = words[random.below(words.size())];
      source += (source.empty() ? "" : " ") + word;
      target = translation + (target.empty() ? "" : " ") + target;
    }
    pairs.source += source + "\n";
    pairs.target += target + "\n";
  }
  return pairs;
}

using Settings = std::vector<std::pair<std::string, std::string>>;

/// Writes 60 pairs to train on and 12 to validate with into a directory.
inline TaskFiles put_toy_files(const Scratch& scratch) {
  const ToyPairs train = toy_pairs(60, 1);
  const ToyPairs dev = toy_pairs(12, 2);
  put(scratch / "train.en", train.source);
  put(scratch / "train.de", train.target);
  put(scratch / "dev.en", dev.source);
  put(scratch / "dev.de", dev.target);
  return {.pairs = ParallelFiles{scratch / "train.en", scratch / "train.de"},
          .dev_pairs = ParallelFiles{scratch / "dev.en", scratch / "dev.de"},
          .text = {},
          .dev_text = {}};
}

/// The smallest model that computes what all do.
inline Settings toy_settings(const Settings& more = {}) {
  Settings settings{{"encoder-layers", "1"}, {"decoder-layers", "1"}, {"d-model", "16"},        {"d-ff", "32"},
                    {"heads", "2"},          {"dropout", "0.1"},      {"vocab-size", "60"},     {"batch-tokens", "120"},
                    {"max-length", "60"},    {"warmup", "10"},        {"learning-rate", "0.01"}};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

/// A run without a gauge of the machine, which would take most of its time.
inline RunRequest toy_request(const TaskFiles& files, const std::filesystem::path& output, const Settings& more) {
  return {.output = output,
          .files = files,
          .recipe = "tiny",
          .settings = toy_settings(more),
          .threads = 1,
          .gauge_seconds = 0};
}

/// Remembers what a run reports.
struct Listener final : Observer {
  void stepped(const StepRecord& record) override { steps.push_back(record); }
  void validated(const ValidationRecord& record) override { validations.push_back(record); }
  void note(std::string_view message) override { notes.emplace_back(message); }
  void warn(std::string_view message) override { warnings.emplace_back(message); }

  std::vector<StepRecord> steps;
  std::vector<ValidationRecord> validations;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

/// Runs to the end, or until `stop_after` steps were taken.
inline Outcome run_toy(const RunRequest& request, Listener& listener, std::size_t stop_after = 1'000'000) {
  return run(request, listener, [&] { return listener.steps.size() >= stop_after; });
}
inline Outcome run_toy(const RunRequest& request) {
  Listener listener;
  return run_toy(request, listener);
}

/// All files under a directory, by relative name.
inline std::map<std::string, std::string> files_under(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files[std::filesystem::relative(entry.path(), directory).string()] = get(entry.path());
  }
  return files;
}

}  // namespace rapt::training
