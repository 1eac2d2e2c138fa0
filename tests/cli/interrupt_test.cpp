// What is left of a command that a signal ends.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "cli/piped.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

bool has_files_without_names(const std::filesystem::path& directory) {
  const int file = open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

/// The old file, and nothing beside it, while the new one is written and after.
void expect_only_the_old_file(const std::string& arguments) {
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    const Scratch scratch;
    put(scratch / "file", "old");
    Piped command(arguments + " " + (scratch / "file").string());
    command.give("a b\n");
    // The file is begun before the input is.
    ASSERT_TRUE(command.reads());
    EXPECT_EQ(count_names(scratch.path()), 1) << arguments;
    command.signal(signal);
    EXPECT_EQ(command.ends(), -signal);
    EXPECT_EQ(count_names(scratch.path()), 1) << arguments;
    EXPECT_EQ(get(scratch / "file"), "old");
  }
}

TEST(Interrupt, LeavesNothingOfAFileThatIsBeingWritten) {
  if (!has_files_without_names(fast_directory())) GTEST_SKIP() << "this file system has no files without names";
  for (const char* options : {" --output", " --similarity --output", " --format npy --output", " --words --output"})
    expect_only_the_old_file("embed " + (data / "embed-tiny").string() + options);
  expect_only_the_old_file("translate " + (data / "gguf" / "t5-tiny.gguf").string() + " --attention");
}

}  // namespace
}  // namespace rapt
