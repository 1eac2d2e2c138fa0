/// `rapt train` as a process: signals, kills, full disks.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "families/checkpoint.h"
#include "families/tiny_models.h"
#include "training/toy.h"

extern char** environ;

namespace rapt::training {
namespace {

using namespace std::chrono_literals;

/// A running `rapt train`, killed at the latest when the test ends.
class Command {
 public:
  Command(std::vector<std::string> arguments, const std::filesystem::path& log) {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int error = posix_spawn(&child_, pointers[0], &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Error("the command cannot be started: " + arguments[0]);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() {
    if (child_ == 0) return;
    kill(child_, SIGKILL);
    wait();
  }

  void signal(int number) const { kill(child_, number); }
  /// The exit status, or minus the signal that ended it.
  int wait() { return wait_for(std::exchange(child_, 0)); }

 private:
  pid_t child_ = 0;
};

/// The arguments that make a toy run of the command.
std::vector<std::string> arguments(const Scratch& scratch, const std::string& output, const Settings& more) {
  std::vector<std::string> result{RAPT_COMMAND, "train",
                                  "--source",   scratch / "train.en",
                                  "--target",   scratch / "train.de",
                                  "--output",   scratch / output,
                                  "--threads",  "1",
                                  "--gauge",    "0"};
  for (const auto& [name, value] : toy_settings(more)) result.insert(result.end(), {"--" + name, value});
  return result;
}

std::vector<std::string> resuming(const Scratch& scratch, const std::string& output, const Settings& more) {
  std::vector<std::string> result{RAPT_COMMAND, "train", "--resume", "--output", scratch / output,
                                  "--threads",  "1",     "--gauge",  "0"};
  for (const auto& [name, value] : more) result.insert(result.end(), {"--" + name, value});
  return result;
}

/// Waits until a condition holds; at most 20 seconds.
template <typename Condition>
bool wait_until(Condition condition) {
  for (int i = 0; i < 4000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

/// 0 if there is none, or none could be read: a run that goes on removes old ones while they are being looked at.
std::int64_t newest_step(const std::filesystem::path& output) try {
  const auto newest = find_newest_checkpoint(output);
  return newest ? newest->stored.state.step : 0;
} catch (const Error&) {
  return 0;
}

const Settings endless{{"steps", "1000000"}, {"validate-every", "0"}, {"save-every", "5"}, {"average", "2"}};

/// K5: a signal in the middle of training saves, exits with 143, and can be resumed.
TEST(TrainCommand, SavesAndExitsOnSignals) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    const Scratch scratch;
    put_toy_files(scratch);
    Command command(arguments(scratch, "out", endless), scratch / "log");
    ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= 5; })) << get(scratch / "log");
    command.signal(signal);
    EXPECT_EQ(command.wait(), 143);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch.path()))
      EXPECT_FALSE(entry.path().filename().native().starts_with('.')) << entry.path();
    EXPECT_NE(get(scratch / "log").find("--resume"), std::string::npos) << get(scratch / "log");
    const std::int64_t step = newest_step(scratch / "out");
    const Settings more{{"steps", std::to_string(step + 3)}};
    Command rest(resuming(scratch, "out", more), scratch / "log");
    EXPECT_EQ(rest.wait(), 0) << get(scratch / "log");
    EXPECT_EQ(newest_step(scratch / "out"), step + 3);
    EXPECT_NO_THROW(load_model(scratch / "out"));
  }
}

/// The same for a model that is trained further; its own directory is no longer needed.
TEST(TrainCommand, SavesAndResumesAModelThatIsTrainedFurther) {
  const Scratch scratch;
  put_toy_files(scratch);
  put_tiny_model("marian-tiny", scratch / "given", DType::f16);
  std::vector<std::string> begin{RAPT_COMMAND, "train",
                                 "--from",     scratch / "given",
                                 "--source",   scratch / "train.en",
                                 "--target",   scratch / "train.de",
                                 "--output",   scratch / "out",
                                 "--threads",  "1",
                                 "--gauge",    "0"};
  for (const auto& [name, value] : endless) begin.insert(begin.end(), {"--" + name, value});
  Command command(begin, scratch / "log");
  ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= 5; })) << get(scratch / "log");
  command.signal(SIGINT);
  EXPECT_EQ(command.wait(), 143);
  std::filesystem::remove_all(scratch / "given");
  const std::int64_t step = newest_step(scratch / "out");
  Command rest(resuming(scratch, "out", {{"steps", std::to_string(step + 3)}}), scratch / "log");
  EXPECT_EQ(rest.wait(), 0) << get(scratch / "log");
  EXPECT_EQ(newest_step(scratch / "out"), step + 3);
  EXPECT_NO_THROW(load_model(scratch / "out"));

  Command refused({RAPT_COMMAND, "train", "--prefix", "x", "--output", scratch / "other"}, scratch / "log");
  EXPECT_EQ(refused.wait(), 2);
  EXPECT_NE(get(scratch / "log").find("--prefix x goes with --from"), std::string::npos) << get(scratch / "log");
}

/// K5: as Ctrl-C does to "rapt train 2>&1 | tee log": the reader of the messages is gone when the run hears that it
/// should end.
TEST(TrainCommand, SavesWhenNobodyReadsItsMessages) {
  const Scratch scratch;
  put_toy_files(scratch);
  ASSERT_EQ(mkfifo((scratch / "log").c_str(), 0600), 0);
  std::optional<Command> command;
  {
    const int reader = open((scratch / "log").c_str(), O_RDONLY | O_NONBLOCK);
    command.emplace(arguments(scratch, "out", endless), scratch / "log");
    const bool began = wait_until([&] { return newest_step(scratch / "out") >= 5; });
    close(reader);
    ASSERT_TRUE(began);
  }
  const std::int64_t before = newest_step(scratch / "out");
  ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= before + 20; }));
  command->signal(SIGINT);
  EXPECT_EQ(command->wait(), 143);
}

/// A full disk under the log is no reason to lose a run.
TEST(TrainCommand, GoesOnWhenMessagesCannotBeWritten) {
  const Scratch scratch;
  put_toy_files(scratch);
  Command command(arguments(scratch, "out", {{"steps", "5"}}), "/dev/full");
  EXPECT_EQ(command.wait(), 0);
  EXPECT_NO_THROW(load_model(scratch / "out"));
}

/// K5: a second signal ends the process at once; what was saved before is whole.
TEST(TrainCommand, ExitsAtOnceOnASecondSignal) {
  const Scratch scratch;
  put_toy_files(scratch);
  Command command(arguments(scratch, "out", endless), scratch / "log");
  ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= 5; })) << get(scratch / "log");
  command.signal(SIGTERM);
  command.signal(SIGTERM);
  const int status = command.wait();
  // The first may have been obeyed before the second came.
  EXPECT_TRUE(status == -SIGTERM || status == 143) << status;
  EXPECT_GE(newest_step(scratch / "out"), 5);
}

/// K1: killed at any moment of a run that does little but save, it leaves a checkpoint that loads and goes on.
TEST(TrainCommand, SurvivesKillsWhileSaving) {
  const Scratch scratch;
  put_toy_files(scratch);
  const Settings saving{{"steps", "1000000"}, {"validate-every", "0"}, {"save-every", "1"}, {"average", "2"}};
  RandomSequence random(11);
  {
    Command first(arguments(scratch, "out", saving), scratch / "log");
    ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= 2; })) << get(scratch / "log");
  }
  std::int64_t step = newest_step(scratch / "out");
  const std::int64_t first_step = step;
  // How long a resumed run takes to its first save, which sanitizers make much longer.
  const auto began = std::chrono::steady_clock::now();
  {
    Command second(resuming(scratch, "out", {}), scratch / "log");
    ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") > first_step; })) << get(scratch / "log");
  }
  const auto start = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  const auto milliseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(start.count(), 20));
  for (int kills = 0; kills < 50; ++kills) {
    {
      Command command(resuming(scratch, "out", {}), scratch / "log");
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds / 2 + random.below(milliseconds)));
    }
    const auto newest = find_newest_checkpoint(scratch / "out");
    ASSERT_TRUE(newest) << "after kill " << kills;
    EXPECT_TRUE(newest->warnings.empty()) << newest->warnings[0];
    ASSERT_GE(newest->stored.state.step, step) << "after kill " << kills;
    step = newest->stored.state.step;
    ASSERT_NO_THROW(load_model(newest->directory)) << "after kill " << kills;
  }
  EXPECT_GT(step, first_step) << "no run came to save anything";
}

/// K7: the second of two trainers is refused, the first one unharmed.
TEST(TrainCommand, RefusesASecondTrainer) {
  const Scratch scratch;
  put_toy_files(scratch);
  Command first(arguments(scratch, "out", endless), scratch / "log");
  ASSERT_TRUE(wait_until([&] { return newest_step(scratch / "out") >= 5; })) << get(scratch / "log");
  Command second(resuming(scratch, "out", {}), scratch / "log2");
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(get(scratch / "log2").find("already writing there"), std::string::npos) << get(scratch / "log2");
  first.signal(SIGTERM);
  EXPECT_EQ(first.wait(), 143);
}

/// K3: a disk that fills up (here: a limit on the size of files) ends the run loudly and leaves the last checkpoint.
TEST(TrainCommand, KeepsTheLastCheckpointWhenTheDiskIsFull) {
  const Scratch scratch;
  put_toy_files(scratch);
  Command first(arguments(scratch, "out", {{"steps", "4"}, {"average", "0"}}), scratch / "log");
  ASSERT_EQ(first.wait(), 0) << get(scratch / "log");
  ASSERT_EQ(newest_step(scratch / "out"), 4);
  const std::string limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
  std::vector<std::string> shell{"/bin/sh", "-c", limited};
  const auto rest = resuming(scratch, "out", {{"steps", "8"}});
  shell.insert(shell.end(), rest.begin(), rest.end());
  Command second(shell, scratch / "log");
  // The log is a file, too, but far from the limit.
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(get(scratch / "log").find("File too large"), std::string::npos) << get(scratch / "log");
  EXPECT_EQ(newest_step(scratch / "out"), 4);
  EXPECT_EQ(count_names(scratch / "out" / "checkpoints"), 1) << "what was begun is removed";
}

TEST(TrainCommand, ReportsBadOptionsInOneLine) {
  const Scratch scratch;
  put_toy_files(scratch);
  Command command(arguments(scratch, "out", {{"schedule", "steep"}}), scratch / "log");
  EXPECT_EQ(command.wait(), 1);
  const std::string log = get(scratch / "log");
  EXPECT_EQ(log, "rapt: --schedule: expected constant|inverse-sqrt|cosine, found \"steep\"\n");
}

}  // namespace
}  // namespace rapt::training
