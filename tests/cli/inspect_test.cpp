// `rapt inspect` as a process.
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "cli/command.h"

namespace rapt {
namespace {

const std::string data = RAPT_TEST_DATA;

CommandResult inspect(const std::string& arguments) {
  return run_command("inspect " + data + "/" + arguments);
}

/// The line that begins with a name.
std::string line_of(const CommandResult& result, const std::string& name) {
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return line;
  }
  return "";
}

TEST(Inspect, TellsWhatMemoryAModelTakes) {
  const CommandResult decoder = inspect("llama-tiny");
  EXPECT_EQ(line_of(decoder, "memory"), "memory      weights 0.021 MB in f32, 0.010 MB in bf16");
  EXPECT_TRUE(
      line_of(decoder, "cache").starts_with("cache       128 in f32, 64 in bf16 bytes a token of a text; of 64 "));
  EXPECT_EQ(line_of(decoder, "parameters"), "parameters  5,200 in 21 tensors, 0.021 MB on disk");
  EXPECT_EQ(line_of(inspect("embed-tiny"), "cache"), "") << "an encoder keeps nothing";
  EXPECT_NE(line_of(inspect("bert-tiny"), "memory"), "");
}

TEST(Inspect, DescribesGgufFilesAsDirectories) {
  const CommandResult directory = inspect("llama-tiny");
  const CommandResult file = inspect("gguf/llama-tiny.gguf");
  for (const char* name : {"family", "decoder", "d_model", "attention", "vocabulary", "memory", "cache"}) {
    EXPECT_NE(line_of(directory, name), "") << name;
    EXPECT_EQ(line_of(file, name), line_of(directory, name));
  }
  const CommandResult blocks = inspect("gguf/blocks.gguf");
  EXPECT_EQ(blocks.status, 0) << blocks.messages;
  EXPECT_NE(line_of(blocks, "family").find("none that rapt runs"), std::string::npos) << blocks.output;
}

TEST(Inspect, AMissingTokenizerDoesNotHideWhatWasVerified) {
  const CommandResult result = inspect("llama-tiny --verify");
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(line_of(result, "verified").find("all weights are finite"), std::string::npos) << result.output;
  EXPECT_NE(result.messages.find("has no tokenizer that rapt knows"), std::string::npos) << result.messages;
  EXPECT_EQ(line_of(inspect("embed-tiny --verify"), "tokenizer"), "tokenizer   103 pieces");
}

}  // namespace
}  // namespace rapt
