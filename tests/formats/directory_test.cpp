#include "formats/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <limits>
#include <random>
#include <thread>

#include "formats/faults.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

/// What the checkpoint of a step holds: a weight file of its own size, and a small text.
std::string weights_of(std::int64_t step) {
  std::string result(static_cast<std::size_t>(20000 + step % 7 * 1000), '\0');
  std::mt19937 random(static_cast<unsigned>(step));
  for (char& byte : result) byte = static_cast<char>(random());
  return result;
}

std::string config_of(std::int64_t step) {
  return fmt::format("{{\"step\": {}}}\n", step);
}

void save(const fs::path& directory, std::int64_t step, FileOperations& operations = FileOperations::system()) {
  DirectoryWriter writer(directory, operations);
  writer.add_file("config.json", config_of(step));
  writer.add_file("weights", [step](OutputFile& file) {
    const std::string weights = weights_of(step);
    file.write(std::string_view(weights).substr(0, 10000));
    file.write(std::string_view(weights).substr(10000));
  });
  put(writer.path("tokenizer"), "written by something else");
  writer.commit(step);
}

/// The step of the checkpoint, after comparing every byte of it; -1 when it is not exactly what save() wrote.
std::int64_t step_of(const fs::path& directory) {
  const Manifest manifest = verify_manifest(directory);
  const bool exact = get(directory / "weights") == weights_of(manifest.step) &&
                     get(directory / "config.json") == config_of(manifest.step) &&
                     get(directory / "tokenizer") == "written by something else" && count_names(directory) == 4;
  return exact ? manifest.step : -1;
}

TEST(DirectoryWriter, CreatesAndReplaces) {
  const Scratch scratch;
  save(scratch / "parents/model", 1);
  EXPECT_EQ(step_of(scratch / "parents/model"), 1);
  save(scratch / "parents/model/", 2);
  EXPECT_EQ(step_of(scratch / "parents/model"), 2);
  EXPECT_EQ(count_names(scratch / "parents"), 1);
}

TEST(DirectoryWriter, WithoutCommitNothingChanges) {
  const Scratch scratch;
  save(scratch / "model", 1);
  {
    DirectoryWriter writer(scratch / "model");
    writer.add_file("weights", "half");
    EXPECT_EQ(count_names(scratch.path()), 2);
  }
  EXPECT_EQ(count_names(scratch.path()), 1);
  EXPECT_EQ(step_of(scratch / "model"), 1);
}

TEST(DirectoryWriter, FollowsALinkToTheDirectory) {
  const Scratch scratch;
  save(scratch / "model", 1);
  fs::create_directory_symlink("model", scratch / "latest");
  save(scratch / "latest", 2);
  EXPECT_EQ(step_of(scratch / "model"), 2);
  EXPECT_TRUE(fs::is_symlink(scratch / "latest"));
}

TEST(DirectoryWriter, HoldsDirectoriesOfFiles) {
  const Scratch scratch;
  for (const char* text : {"old", "new"}) {
    DirectoryWriter writer(scratch / "model");
    writer.add_file("config", text);
    writer.add_file("part/one", text);
    if (std::string(text) == "old") writer.add_file("gone/one", text);
    writer.commit();
    EXPECT_EQ(get(scratch / "model" / "part" / "one"), text);
    if (std::string(text) == "old") put(scratch / "model" / "mine", "of the user");
  }
  EXPECT_EQ(verify_manifest(scratch / "model").files.size(), 2U);
  EXPECT_FALSE(fs::exists(scratch / "model" / "gone"));
  EXPECT_TRUE(fs::exists(scratch / "model" / "mine"));
  fs::remove(scratch / "model" / "part" / "one");
  EXPECT_THROW(verify_manifest(scratch / "model"), Error);
}

TEST(DirectoryWriter, TakesPlainNamesOnceEach) {
  const Scratch scratch;
  DirectoryWriter writer(scratch / "model");
  for (const std::string_view name : {"", "..", "a/b/c", "../a", "a/", "a/..", "/etc/passwd", "rapt.json"}) {
    EXPECT_TRUE(refuses([&] { writer.add_file(name, "x"); }, "cannot name a file of a checkpoint"));
  }
  writer.add_file("a", "x");
  EXPECT_TRUE(refuses([&] { writer.add_file("a", "y"); }, "cannot be created: File exists"));
  EXPECT_TRUE(refuses([&] { writer.add_file("a/b", "y"); }, "Not a directory"));
  fs::create_directory(writer.path("sub"));
  EXPECT_TRUE(refuses([&] { writer.commit(); }, "sub: only files belong into a checkpoint"));
}

TEST(DirectoryWriter, RefusesToReplaceWhatRaptDidNotWrite) {
  const Scratch scratch;
  fs::create_directory(scratch / "home");
  put(scratch / "home/thesis.tex", "years of work");
  put(scratch / "file", "x");
  fs::create_symlink("nowhere", scratch / "dangling");
  fs::create_directory(scratch / "empty");
  EXPECT_TRUE(refuses([&] { DirectoryWriter writer(scratch / "home"); }, "home: holds files that rapt did not write"));
  EXPECT_TRUE(refuses([&] { DirectoryWriter writer(scratch / "file"); }, "file: is not a directory"));
  EXPECT_TRUE(refuses([&] { DirectoryWriter writer(scratch / "dangling"); }, "dangling: is not a directory"));
  EXPECT_TRUE(refuses([&] { DirectoryWriter writer(scratch / "file/model"); }, "Not a directory"));
  EXPECT_TRUE(refuses([] { DirectoryWriter writer("/"); }, "cannot be a checkpoint directory"));
  EXPECT_TRUE(refuses([] { DirectoryWriter writer("/proc/model"); }, "/proc/.model.rapt-tmp", "cannot be created"));
  save(scratch / "empty", 1);
  EXPECT_EQ(step_of(scratch / "empty"), 1);
  EXPECT_EQ(get(scratch / "home/thesis.tex"), "years of work");
}

TEST(DirectoryWriter, KeepsTheFilesOfTheUser) {
  WithoutExchange<FailingOperations> no_exchange(0, 0, 0);
  for (FileOperations* operations : {&FileOperations::system(), static_cast<FileOperations*>(&no_exchange)}) {
    const Scratch scratch;
    save(scratch / "model", 1);
    put(scratch / "model/notes.txt", "mine");
    fs::create_directory(scratch / "model/plots");
    put(scratch / "model/plots/loss.svg", "mine too");
    save(scratch / "model", 2, *operations);
    EXPECT_EQ(verify_manifest(scratch / "model").step, 2);
    EXPECT_EQ(get(scratch / "model/notes.txt"), "mine");
    EXPECT_EQ(get(scratch / "model/plots/loss.svg"), "mine too");
    EXPECT_EQ(count_names(scratch.path()), 1);
  }
}

TEST(DirectoryWriter, HoldsSafetensorsThatStayValidWhenReplaced) {
  const Scratch scratch;
  const auto save_tensor = [&](float value) {
    const Tensor tensor = Tensor::of<float>({3}, std::vector<float>(3, value));
    DirectoryWriter writer(scratch / "model");
    writer.add_file("model.safetensors", [&](OutputFile& file) {
      write_safetensors(file, std::vector<NamedTensor>{{"a", tensor}});
    });
    save_safetensors(writer.path("optimizer.safetensors"), std::vector<NamedTensor>{{"a", tensor}});
    writer.commit();
  };
  save_tensor(1);
  const Tensor old = read_safetensors_directory(scratch / "model").tensors.at("a");
  save_tensor(2);
  EXPECT_EQ(old.values<float>()[0], 1);
  EXPECT_EQ(read_safetensors_directory(scratch / "model").tensors.at("a").values<float>()[0], 2);
  EXPECT_EQ(verify_manifest(scratch / "model").files.size(), 2U);
}

/// What remains on a file system after a save that was disturbed: the old or the new checkpoint, and nothing else once
/// the next writer has run.
void expect_old_or_new(const Scratch& scratch, std::string_view what) {
  recover(scratch / "model");
  const std::int64_t step = step_of(scratch / "model");
  EXPECT_TRUE(step == 1 || step == 2) << what;
  save(scratch / "model", 3);
  EXPECT_EQ(step_of(scratch / "model"), 3) << what;
  EXPECT_EQ(count_names(scratch.path()), 1) << what;
}

template <typename Operations>
void fail_each_call(int error) {
  bool failed = true;
  for (int call = 1; failed; ++call) {
    const std::string what = fmt::format("call {} fails with {}", call, error);
    const Scratch scratch;
    save(scratch / "model", 1);
    Operations operations(call, call, error);
    if (refuses([&] { save(scratch / "model", 2, operations); }, scratch.path().native(), system_message(error))) {
      EXPECT_EQ(step_of(scratch / "model"), 1) << what;
    } else {
      EXPECT_EQ(step_of(scratch / "model"), 2) << what;
    }
    EXPECT_EQ(count_names(scratch.path()), 1) << what;
    failed = operations.failed();
    EXPECT_TRUE(failed || call > 20) << what;
  }
}

TEST(DirectoryWriter, K3_AnyCallThatFailsKeepsTheOldDirectory) {
  for (const int error : {ENOSPC, EDQUOT, EIO, EACCES}) {
    fail_each_call<FailingOperations>(error);
    fail_each_call<WithoutExchange<FailingOperations>>(error);
  }
}

template <typename Operations>
void fail_from_each_call() {
  bool failed = true;
  for (int call = 1; failed; ++call) {
    const Scratch scratch;
    save(scratch / "model", 1);
    Operations operations(call, std::numeric_limits<int>::max(), EIO);
    failed = static_cast<bool>(refuses([&] { save(scratch / "model", 2, operations); }));
    expect_old_or_new(scratch, fmt::format("all from call {}", call));
  }
}

TEST(DirectoryWriter, K3_ADiskThatIsGoneForGoodLeavesOldOrNew) {
  fail_from_each_call<FailingOperations>();
  fail_from_each_call<WithoutExchange<FailingOperations>>();
}

TEST(DirectoryWriter, K3_TheFirstSaveLeavesNothingWhenItFails) {
  bool failed = true;
  for (int call = 1; failed; ++call) {
    const Scratch scratch;
    FailingOperations operations(call, call, ENOSPC);
    failed = static_cast<bool>(refuses([&] { save(scratch / "model", 2, operations); }));
    EXPECT_EQ(count_names(scratch.path()), failed ? 0 : 1) << "call " << call;
  }
}

template <typename Operations>
void lose_power_at_each_call() {
  for (int call = 1, status = PowerLoss::status; status == PowerLoss::status; ++call) {
    const Scratch scratch;
    save(scratch / "model", 1);
    status = wait_for(in_child([&] {
      Operations operations(call);
      save(scratch / "model", 2, operations);
      return 0;
    }));
    EXPECT_TRUE(status == PowerLoss::status || status == 0) << status;
    expect_old_or_new(scratch, fmt::format("power is lost at call {}", call));
  }
}

TEST(DirectoryWriter, K2_PowerLossAtAnyCallLeavesOldOrNew) {
  lose_power_at_each_call<PowerLoss>();
  lose_power_at_each_call<WithoutExchange<PowerLoss>>();
}

std::chrono::microseconds time_to_save(const fs::path& directory, std::int64_t step) {
  const auto start = std::chrono::steady_clock::now();
  save(directory, step);
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
}

/// Kills a process that saves step after step, at random moments, and looks at what it left.
void kill_at_random(const Scratch& scratch, FileOperations& operations) {
  constexpr std::chrono::microseconds patience(200'000);
  const auto longest = static_cast<unsigned>(std::min(4 * time_to_save(scratch / "model", 1), patience).count());
  std::mt19937 random(9);
  std::int64_t last = 1;
  for (int i = 0; i < 50; ++i) {
    const pid_t child = in_child([&] {
      for (std::int64_t step = last + 1;; ++step) save(scratch / "model", step, operations);
      return 0;
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % longest));
    kill(child, SIGKILL);
    ASSERT_EQ(wait_for(child), -SIGKILL);
    recover(scratch / "model");
    const std::int64_t step = step_of(scratch / "model");
    ASSERT_GE(step, last);
    last = step;
  }
  EXPECT_GT(last, 1);
  save(scratch / "model", last + 1);
  EXPECT_EQ(count_names(scratch.path()), 1);
}

TEST(DirectoryWriter, K1_KilledAtRandom) {
  kill_at_random(Scratch(fs::temp_directory_path()), FileOperations::system());
}

TEST(DirectoryWriter, K1_KilledAtRandomWithoutExchange) {
  WithoutExchange<FailingOperations> operations(0, 0, 0);
  kill_at_random(Scratch(), operations);
}

TEST(DirectoryWriter, LeavesTheTemporaryDirectoryOfALiveWriterAlone) {
  const Scratch scratch;
  DirectoryWriter first(scratch / "model");
  first.add_file("config.json", config_of(1));
  save(scratch / "model", 2);
  first.add_file("weights", weights_of(1));
  put(first.path("tokenizer"), "written by something else");
  first.commit(1);
  EXPECT_EQ(step_of(scratch / "model"), 1);
  EXPECT_EQ(count_names(scratch.path()), 1);
}

TEST(Recover, PutsTheOldDirectoryBackOnlyWhenTheNewIsMissing) {
  const Scratch scratch;
  save(scratch / "model", 1);
  fs::rename(scratch / "model", scratch / ".model.rapt-old");
  recover(scratch / "model");
  EXPECT_EQ(step_of(scratch / "model"), 1);
  save(scratch / "other", 2);
  fs::rename(scratch / "other", scratch / ".model.rapt-old");
  recover(scratch / "model");
  EXPECT_EQ(step_of(scratch / "model"), 1);
  EXPECT_EQ(count_names(scratch.path()), 2);
}

class Damaged : public testing::Test {
 protected:
  Damaged() {
    save(scratch_ / "older", 100);
    save(scratch_ / "newer", 200);
  }

  /// Damages one file, and checks that it is noticed and the older checkpoint taken.
  void expect_noticed(std::string_view name, std::string_view bytes, std::string_view reason) const {
    const fs::path file = scratch_ / "newer" / name;
    const std::string good = get(file);
    put(file, bytes);
    EXPECT_TRUE(refuses([&] { verify_manifest(scratch_ / "newer"); }, file.native(), reason));
    const auto found = newest_valid(both_);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->directory, scratch_ / "older");
    EXPECT_EQ(found->manifest.step, 100);
    ASSERT_EQ(found->warnings.size(), 1U);
    EXPECT_NE(found->warnings[0].find(reason), std::string::npos) << found->warnings[0];
    put(file, good);
  }

  Scratch scratch_;
  std::vector<fs::path> both_{scratch_ / "older", scratch_ / "newer"};
};

TEST_F(Damaged, K4_NothingWrongTakesTheNewest) {
  const auto found = newest_valid(both_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->directory, scratch_ / "newer");
  EXPECT_EQ(found->manifest.step, 200);
  EXPECT_TRUE(found->warnings.empty());
}

TEST_F(Damaged, K4_TruncatedFlippedOrSwapped) {
  const std::string good = get(scratch_ / "newer/weights");
  expect_noticed("weights", std::string_view(good).substr(0, good.size() - 1), "the file is damaged");
  expect_noticed("weights", "", "has 0 bytes");
  expect_noticed("weights", good + "x", "the file is damaged");
  expect_noticed("weights", get(scratch_ / "older/weights"), "the file is damaged");
  expect_noticed("config.json", config_of(201), "has the checksum");
  for (const std::size_t bit : {std::size_t{0}, good.size() * 4, good.size() * 8 - 1}) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    expect_noticed("weights", flipped, "has the checksum");
  }
}

TEST_F(Damaged, K4_EveryBitAndEveryLengthOfTheManifest) {
  const fs::path path = scratch_ / "newer/rapt.json";
  const std::string good = get(path);
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    put(path, flipped);
    EXPECT_TRUE(refuses([&] { read_manifest(scratch_ / "newer"); }, "rapt.json: ")) << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(path, std::string_view(good).substr(0, size));
    EXPECT_TRUE(refuses([&] { read_manifest(scratch_ / "newer"); }, "rapt.json: ")) << size;
  }
}

TEST_F(Damaged, K4_AnotherVersionOrFormat) {
  const std::string good = get(scratch_ / "newer/rapt.json");
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string result = good;
    return result.replace(result.find(from), from.size(), to);
  };
  expect_noticed("rapt.json", replaced("\"version\": 1", "\"version\": 2"),
                 "written in version 2 of the format, this rapt reads version 1");
  expect_noticed("rapt.json", replaced("rapt checkpoint", "other"), "\"format\": expected \"rapt checkpoint\"");
  expect_noticed("rapt.json", replaced("\"step\": 200", "\"step\": -1"),
                 "\"step\": expected an integer >= 0, found -1");
  expect_noticed("rapt.json", replaced("\"weights\"", "\"../older/weights\""), "expected the name of a file");
  expect_noticed("rapt.json", replaced("\"step\": 200", "\"step\": 201"), "is damaged");
  expect_noticed("rapt.json", "", "not valid JSON");
}

TEST_F(Damaged, K4_MissingFiles) {
  fs::remove(scratch_ / "newer/weights");
  EXPECT_TRUE(refuses([&] { verify_manifest(scratch_ / "newer"); }, "weights: cannot be opened: No such file"));
  fs::remove(scratch_ / "newer/rapt.json");
  EXPECT_TRUE(refuses([&] { verify_manifest(scratch_ / "newer"); }, "rapt.json: cannot be opened: No such file"));
  EXPECT_EQ(newest_valid(both_)->warnings.size(), 1U);
}

TEST_F(Damaged, K4_NeverASilentFreshStart) {
  put(scratch_ / "older/weights", "");
  put(scratch_ / "newer/rapt.json", "");
  EXPECT_TRUE(refuses([&] { newest_valid(both_); }, "no checkpoint is complete and undamaged: ", "newer/rapt.json",
                      "older/weights"));
  fs::create_directory(scratch_ / "empty");
  EXPECT_FALSE(newest_valid(std::vector<fs::path>{scratch_ / "missing", scratch_ / "empty"}).has_value());
  EXPECT_FALSE(newest_valid({}).has_value());
}

TEST_F(Damaged, ADamagedCheckpointCanBeReplaced) {
  put(scratch_ / "newer/rapt.json", "");
  save(scratch_ / "newer", 300);
  EXPECT_EQ(step_of(scratch_ / "newer"), 300);
  EXPECT_EQ(count_names(scratch_.path()), 2);
}

TEST_F(Damaged, NewestValidRecoversAnInterruptedSwap) {
  fs::rename(scratch_ / "newer", scratch_ / ".newer.rapt-old");
  EXPECT_EQ(newest_valid(both_)->manifest.step, 200);
}

TEST(DirectoryLock, K7_ASecondTrainerIsRefused) {
  const Scratch scratch;
  const auto lock_in_child = [&] {
    return wait_for(in_child([&] {
      const auto lock = [&] { const DirectoryLock second(scratch / "model/"); };
      return refuses(lock, "model", fmt::format("process {} is already writing there", getppid())) ? 7 : 0;
    }));
  };
  {
    const DirectoryLock first(scratch / "model");
    EXPECT_TRUE(refuses([&] { const DirectoryLock second(scratch / "model"); }, "is already writing there"));
    EXPECT_EQ(lock_in_child(), 7);
    const DirectoryLock other(scratch / "parents/model");
    save(scratch / "model", 1);
    EXPECT_EQ(lock_in_child(), 7);
  }
  EXPECT_EQ(lock_in_child(), 0);
  EXPECT_EQ(step_of(scratch / "model"), 1);
  EXPECT_FALSE(fs::exists(scratch / ".model.rapt-lock"));
}

TEST(DirectoryLock, K7_TheLockOfAKilledTrainerIsFree) {
  const Scratch scratch;
  const int status = wait_for(in_child([&] {
    const DirectoryLock lock(scratch / "model");
    return raise(SIGKILL);
  }));
  ASSERT_EQ(status, -SIGKILL);
  EXPECT_TRUE(fs::exists(scratch / ".model.rapt-lock"));
  const DirectoryLock lock(scratch / "model");
}

}  // namespace
}  // namespace rapt
