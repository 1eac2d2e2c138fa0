// What the command line says of itself, and of arguments that make no sense.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.h"

namespace rapt {
namespace {

const std::vector<std::string> commands{"train", "translate", "evaluate", "generate",    "chat",      "embed",
                                        "pull",  "inspect",   "bench",    "bench model", "bench gemm"};

const std::string model = RAPT_TEST_DATA "/llama-tiny";

/// Whether the arguments were refused with one line that holds `part`.
testing::AssertionResult refused(const std::string& arguments, const std::string& part) {
  const CommandResult result = run_command(arguments);
  const bool one_line = result.messages.starts_with("rapt: ") && std::ranges::count(result.messages, '\n') == 1;
  if (result.status == 2 && one_line && result.output.empty() && result.messages.find(part) != std::string::npos)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << arguments << ": status " << result.status << ", output: " << result.output
                                     << ", messages: " << result.messages;
}

TEST(CommandLine, HelpFitsTheTerminal) {
  for (const std::string& command : commands) {
    const CommandResult result = run_command(command + " --help");
    EXPECT_EQ(result.status, 0);
    EXPECT_NE(result.output.find("usage: rapt " + command), std::string::npos) << result.output;
    std::istringstream lines(result.output);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << command << ": " << line;
    EXPECT_EQ(result.output.find(" in ["), std::string::npos) << "CLI11's way to write ranges";
  }
}

TEST(CommandLine, HelpShowsDefaultsAndWhatGoesTogether) {
  const std::string help = run_command("generate --help").output;
  for (const char* part : {"usage: rapt generate MODEL [OPTION ...]", "--max-tokens N ", "(default: 256)",
                           "--precision bf16|f32", "Examples:\n"})
    EXPECT_NE(help.find(part), std::string::npos) << part;
}

TEST(CommandLine, NothingIsAnsweredWithHelp) {
  const CommandResult result = run_command("");
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.messages.find("Commands:\n"), std::string::npos) << result.messages;
  EXPECT_TRUE(run_command("--version").output.starts_with("rapt "));
}

TEST(CommandLine, MessagesThatCannotBeWrittenCostNoResult) {
  const std::string embed = RAPT_COMMAND " embed " RAPT_TEST_DATA "/embed-tiny";
  for (const char* messages : {"2> /dev/full", "2>&-"}) {
    const Scratch scratch;
    put(scratch / "in", "a line that is not \xff UTF-8\n");
    const std::string line =
        embed + " --output " + (scratch / "vectors").string() + " < " + (scratch / "in").string() + " " + messages;
    EXPECT_EQ(std::system(line.c_str()), 0) << messages;
    EXPECT_TRUE(get(scratch / "vectors").starts_with("[")) << get(scratch / "vectors");
  }
}

TEST(CommandLine, ResultsThatCannotBeWrittenAreErrors) {
  for (const char* output : {"> /dev/full", ">&-"}) {
    const Scratch scratch;
    for (const char* arguments : {"--help", "--version", "generate --help", "inspect " RAPT_TEST_DATA "/llama-tiny"}) {
      const std::string line =
          std::string(RAPT_COMMAND) + " " + arguments + " " + output + " 2> " + (scratch / "err").string();
      EXPECT_EQ(WEXITSTATUS(std::system(line.c_str())), 1) << line;
      EXPECT_TRUE(get(scratch / "err").starts_with("rapt: standard output")) << line << get(scratch / "err");
    }
  }
}

TEST(CommandLine, WrongNamesAreToldWithWhatIsNear) {
  EXPECT_TRUE(refused("genrate model", "genrate: there is no such command; did you mean generate? (rapt --help)"));
  EXPECT_TRUE(refused("frobnicate", "frobnicate: there is no such command (rapt --help)"));
  EXPECT_TRUE(refused("inspect " + model + " --verfiy", "--verfiy: there is no such option; did you mean --verify?"));
  EXPECT_TRUE(
      refused("inspect " + model + " --max-tokens=3", "--max-tokens: there is no such option (rapt inspect --help)"));
  EXPECT_TRUE(refused("inspect " + model + " more", "more: one argument too many"));
  EXPECT_TRUE(refused("'two\nlines'", "two\\x0alines: there is no such command"));
  EXPECT_TRUE(refused("inspect " + model + " --" + std::string(100'000, 'x'), ": there is no such option"));
  EXPECT_TRUE(refused("generate", "MODEL is missing: "));
  EXPECT_TRUE(refused("train", "--output is missing (rapt train --help)"));
}

TEST(CommandLine, WrongValuesAreToldWithWhatIsRight) {
  const std::string generate = "generate " + model + " ";
  for (const char* wrong : {"nan", "-1", "1e999", "''", "0", "3.5", "9999999999999999999999"})
    EXPECT_TRUE(
        refused(generate + "--max-tokens " + wrong, "--max-tokens: expected a whole number, 1 to 1048576, found"));
  EXPECT_TRUE(refused(generate + "--max-tokens", "--max-tokens: its value is missing"));
  EXPECT_TRUE(refused(generate + "--seed -1", "--seed: expected a whole number, 0 or more, found \"-1\""));
  EXPECT_TRUE(refused(generate + "--temperature warm", "--temperature: expected a number, 0 or more, found \"warm\""));
  EXPECT_TRUE(refused(generate + "--temperature nan", "--temperature: expected a number, 0 or more, found \"nan\""));
  EXPECT_TRUE(refused(generate + "--top-p 2", "--top-p: expected a number above 0 and up to 1, found \"2\""));
  EXPECT_TRUE(refused(generate + "--top-p nan", "--top-p: expected a number above 0 and up to 1, found \"nan\""));
  EXPECT_TRUE(refused(generate + "--top-k -1", "--top-k: expected a whole number, 0 or more, found \"-1\""));
  EXPECT_TRUE(refused(generate + "--min-p 1.5", "--min-p: expected a number, 0 to 1, found \"1.5\""));
  EXPECT_TRUE(refused(generate + "--repetition-penalty 0", "--repetition-penalty: expected a number above 0, found"));
  EXPECT_TRUE(refused(generate + "--prompt a --stop ''", "--stop: expected text, found none"));
  EXPECT_TRUE(refused(generate + "--precision f16", "--precision: expected bf16|f32, found \"f16\""));
  EXPECT_TRUE(refused(generate + "--prompt a --prompt b", "--prompt: more than one value"));
  EXPECT_TRUE(refused(generate + "--prompt a --input b", "--prompt and --input do not go together"));
  EXPECT_TRUE(refused(generate + "--nbest 2", "--nbest goes with --beam"));
  EXPECT_TRUE(refused(generate + "--beam 2 --nbest 3", "--nbest 3: a beam of 2 finds no more than 2 texts"));
  EXPECT_TRUE(
      refused("translate " + model + " --beam 2 --nbest 3", "--nbest 3: a beam of 2 finds no more than 2 texts"));
  EXPECT_TRUE(refused("embed " + model + " --words --layer x", "--layer: expected a number or all, found x"));
  EXPECT_TRUE(refused("evaluate --reference a", "nothing to score: "));
  EXPECT_TRUE(refused("evaluate --source a --reference b", "--source and --text need a model"));
  EXPECT_TRUE(refused("evaluate " + model + " --text a --reference b", "--text is scored without --reference"));
  EXPECT_TRUE(refused("train --output new --source a", "--source and --target go together; one is missing"));
  EXPECT_TRUE(
      refused("evaluate " + model + " --stride -1", "--stride: expected a whole number, 1 or more, found \"-1\""));
  EXPECT_TRUE(refused("evaluate " + model + " --tokenize x", "--tokenize: expected 13a|none|intl|char, found \"x\""));
}

}  // namespace
}  // namespace rapt
