// Commands that somebody drives through a pipe: a line in, its answer out, and then the next line.
#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/piped.h"
#include "decoding/tiny_language_model.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

/// One answer a line, from the same command as from a file.
void expect_answers(const std::string& arguments, const std::vector<std::string>& lines) {
  Piped command(arguments);
  std::string all;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    command.give(lines[i] + "\n");
    all += lines[i] + "\n";
    ASSERT_TRUE(command.answers(static_cast<std::ptrdiff_t>(i) + 1)) << arguments << " line " << i;
  }
  command.end_input();
  EXPECT_EQ(command.ends(), 0);
  const CommandResult together = run_command(arguments, all);
  EXPECT_EQ(together.status, 0) << together.messages;
  EXPECT_EQ(command.output(), together.output);
}

class PipedCommands : public testing::Test {
 protected:
  std::string translate_ = "translate " + (data / "gguf" / "t5-tiny.gguf").string();
  std::string embed_ = "embed " + (data / "embed-tiny").string();
};

TEST_F(PipedCommands, TranslateAnswersEachLine) {
  expect_answers(translate_, {"a b", "", "b a b a", "c"});
  expect_answers(translate_ + " --align --beam 2", {"a b", "b a b a"});
}

TEST_F(PipedCommands, EmbedAnswersEachLine) {
  expect_answers(embed_, {"Two men are walking.", "", "A dog runs!"});
  expect_answers(embed_ + " --words", {"men", "dog", "bank"});
}

TEST_F(PipedCommands, GenerateAnswersEachLine) {
  const Scratch scratch;
  write_tiny_language_model(scratch / "model");
  expect_answers("generate " + (scratch / "model").string() + " --input - --json --max-tokens 6 --seed 3",
                 {"one", "two", "three"});
}

/// Lines that are whole are answered although another has begun.
TEST_F(PipedCommands, HalfALineHoldsNothingUp) {
  Piped command(translate_);
  command.give("a b\nb");
  EXPECT_TRUE(command.answers(1));
  command.give(" a\nc");
  EXPECT_TRUE(command.answers(2));
  command.end_input();
  EXPECT_EQ(command.ends(), 0);
  EXPECT_EQ(command.output(), run_command(translate_, "a b\nb a\nc").output);
}

}  // namespace
}  // namespace rapt
