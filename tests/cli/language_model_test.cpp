// `rapt generate` and `rapt chat` as processes, with a random model.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/command.h"
#include "core/memory.h"
#include "decoding/tiny_language_model.h"
#include "rapt/generator.h"

namespace rapt {
namespace {

class LanguageModelCommand : public testing::Test {
 protected:
  LanguageModelCommand() { write_tiny_language_model(model_, {.chat_template = tiny_chat_template}); }

  using Result = CommandResult;
  /// Runs a subcommand with the model, more arguments, and `input` for standard input.
  Result rapt(const std::string& command, const std::string& arguments, const std::string& input = "") const {
    return run_command(command + " " + model_.string() + " --threads 1 " + arguments, input);
  }
  std::string text_of(const std::string& prompt, const GenerateOptions& options) const {
    return Generator(model_, {.threads = 1}).generate(prompt, options);
  }
  static std::vector<nlohmann::json> objects(const std::string& output) {
    std::vector<nlohmann::json> result;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) result.push_back(nlohmann::json::parse(line));
    return result;
  }

  Scratch scratch_;
  std::filesystem::path model_ = scratch_ / "model";
};

TEST_F(LanguageModelCommand, GenerateWritesPromptAndText) {
  const Result result = rapt("generate", "--prompt 'the end' --max-tokens 20 --seed 5");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.messages, "");
  EXPECT_EQ(result.output, "the end" + text_of("the end", {.max_tokens = 20, .seed = 5}) + "\n");
  const Result prefixed = rapt("generate", "--prompt 'the end' --prefix ' in' --max-tokens 20 --temperature 0");
  EXPECT_EQ(prefixed.output,
            "the end" + text_of("the end", {.max_tokens = 20, .sampling = {.temperature = 0}, .prefix = " in"}) + "\n");
}

TEST_F(LanguageModelCommand, GenerateReadsPromptsFromFilesAndStandardInput) {
  const std::string options = " --max-tokens 9 --temperature 0";
  const GenerateOptions greedy{.max_tokens = 9, .sampling = {.temperature = 0}};
  const std::string prompt = "two\nlines";
  EXPECT_EQ(rapt("generate", "--prompt-file -" + options, prompt + "\n").output,
            prompt + text_of(prompt, greedy) + "\n");
  const Result lines = rapt("generate", "--input - --json" + options, "the first\nanother\n");
  const auto texts = objects(lines.output);
  ASSERT_EQ(texts.size(), 2U);
  EXPECT_EQ(texts[0]["text"], text_of("the first", greedy));
  EXPECT_EQ(texts[1]["text"], text_of("another", greedy));
  EXPECT_EQ(texts[1]["prompt"], "another");
  EXPECT_FALSE(texts[0].contains("log_probability"));
}

TEST_F(LanguageModelCommand, GenerateTellsAllAboutItsTexts) {
  for (const std::string& options :
       {std::string("--samples 3 --log-probabilities"), std::string("--beam 4 --nbest 3")}) {
    const auto texts = objects(rapt("generate", "--prompt the --json --max-tokens 15 " + options).output);
    ASSERT_EQ(texts.size(), 3U) << options;
    for (const auto& text : texts) {
      std::string joined;
      double sum = 0;
      for (const auto& token : text["tokens"]) {
        joined += token["text"].get<std::string>();
        sum += token["log_probability"].get<double>();
      }
      EXPECT_EQ(text["text"], joined);
      EXPECT_NEAR(text["log_probability"].get<double>(), sum, 1e-9);
      EXPECT_EQ(text["finish"] == "end", text["tokens"].back()["id"] == end_token);
    }
  }
}

TEST_F(LanguageModelCommand, GenerateStopsBeforeAStopString) {
  const std::string whole = text_of("the end", {.max_tokens = 30, .seed = 5});
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  const char stop = whole[whole.find_first_of(letters, 2)];
  const Result result =
      rapt("generate", std::string("--prompt 'the end' --seed 5 --max-tokens 30 --stop @@@ --stop ") + stop);
  EXPECT_EQ(result.output, "the end" + whole.substr(0, whole.find(stop)) + "\n");
}

TEST_F(LanguageModelCommand, GenerateSaysInOneLineWhatIsWrong) {
  EXPECT_NE(rapt("generate", "--beam 2 --temperature 1").status, 0);
  EXPECT_NE(rapt("generate", "--log-probabilities").status, 0);
  EXPECT_NE(rapt("generate", "--prompt a --input -").status, 0);
  const Result result = rapt("generate", "--prompt-file -", "a\xff");
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.messages.find("standard input"), std::string::npos) << result.messages;
  EXPECT_EQ(std::ranges::count(result.messages, '\n'), 1) << result.messages;
}

TEST_F(LanguageModelCommand, GenerateWritesNothingWhenSomethingIsWrong) {
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt the --prefix '\xff'"), "the prefix"));
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt the --stop '\xff'"), "a stop string"));
}

/// The model's positions do not limit how long a text may become.
TEST_F(LanguageModelCommand, GenerateRefusesWhatTheMemoryCannotHold) {
  if (available_memory().value_or(0) > 100'000'000'000) GTEST_SKIP() << "this machine has room for it";
  EXPECT_TRUE(failed_with(rapt("generate", "--prompt the --samples 1024 --max-tokens 1048576"),
                          "keys and values of 1024 texts of 1048577 tokens take "));
}

TEST_F(LanguageModelCommand, TheCacheMayBeKeptInAnotherType) {
  const std::string options = "--prompt 'the end' --max-tokens 30 --temperature 0 ";
  EXPECT_EQ(rapt("generate", options + "--cache f32").output, rapt("generate", options).output);
  const Result half = rapt("generate", options + "--cache bf16 --json --log-probabilities");
  ASSERT_EQ(half.status, 0) << half.messages;
  const Result whole = rapt("generate", options + "--json --log-probabilities");
  EXPECT_NE(half.output, whole.output) << "log-probabilities are rounded";
  EXPECT_NEAR(objects(half.output)[0]["tokens"][0]["log_probability"].get<double>(),
              objects(whole.output)[0]["tokens"][0]["log_probability"].get<double>(), 0.1);
  EXPECT_EQ(rapt("chat", "--max-tokens 5 --cache bf16", "one\n").status, 0);
}

TEST_F(LanguageModelCommand, ADirectoryWithoutAModelIsRefusedWithWhatLiesThere) {
  const std::filesystem::path directory = scratch_ / "none";
  std::filesystem::create_directories(directory);
  const auto refused = [&](const std::string& part) {
    return failed_with(run_command("generate " + directory.string() + " --prompt the"), part);
  };
  EXPECT_TRUE(refused("none: holds no model: config.json is missing"));
  std::filesystem::create_directories(directory / "snapshots");
  EXPECT_TRUE(refused("give the directory of one revision in " + (directory / "snapshots").string()));
  put(directory / "b.gguf", "");
  put(directory / "a.gguf", "");
  EXPECT_TRUE(refused("holds no config.json, but " + (directory / "a.gguf").string() + "; give that file"));
}

TEST_F(LanguageModelCommand, FilesThatCannotBeWrittenAreRefusedBeforeAnyWork) {
  put(scratch_ / "file", "");
  const std::filesystem::path unwritable[] = {scratch_ / "none" / "page.html", scratch_ / "file" / "page.html",
                                              "/proc/page.html", scratch_ / std::string(250, 'x'), scratch_.path()};
  for (const std::string path : unwritable) {
    EXPECT_TRUE(failed_with(rapt("generate", "--prompt the --attention " + path), path + ": "));
    EXPECT_TRUE(failed_with(rapt("embed", "--output " + path), path + ": "));
    EXPECT_TRUE(failed_with(rapt("translate", "--attention " + path), path + ": "));
  }
  put(scratch_ / "page.html", "old");
  const auto names = count_names(scratch_.path());
  EXPECT_EQ(rapt("generate", "--prompt the --max-tokens 3 --attention " + (scratch_ / "page.html").string()).status, 0);
  EXPECT_NE(get(scratch_ / "page.html").find("<html"), std::string::npos);
  EXPECT_EQ(count_names(scratch_.path()), names);
}

TEST_F(LanguageModelCommand, ChatAnswersEachLine) {
  const GenerateOptions greedy{.max_tokens = 10, .sampling = {.temperature = 0}};
  const std::string first = text_of("<|system|>be brief<|end|><|user|>the first<|end|><|bot|>", greedy);
  const std::string second = text_of(
      "<|system|>be brief<|end|><|user|>the first<|end|><|bot|>" + first + "<|end|><|user|>/x<|end|><|bot|>", greedy);
  const Result result = rapt("chat", "--system 'be brief' --temperature 0 --max-tokens 10", "the first\n\n//x\n");
  EXPECT_EQ(result.status, 0) << result.messages;
  EXPECT_EQ(result.output, first + "\n" + second + "\n");
  EXPECT_NE(result.messages.find("stopped after 10 tokens"), std::string::npos) << result.messages;
}

TEST_F(LanguageModelCommand, ChatObeysCommands) {
  const std::string file = (scratch_ / "saved.json").string();
  const Result result = rapt("chat", "--max-tokens 5",
                             "one\n/undo\n/stats\ntwo\n/system speak\nthree\n/save " + file + "\n/help\n/quit\nfour\n");
  EXPECT_EQ(result.status, 0) << result.messages;
  const auto saved = nlohmann::json::parse(get(file));
  std::vector<std::string> contents;
  for (const auto& message : saved["messages"])
    if (message["role"] != "assistant") contents.push_back(message["content"]);
  EXPECT_EQ(contents, (std::vector<std::string>{"speak", "two", "three"}));
  EXPECT_NE(result.messages.find("(read "), std::string::npos) << result.messages;
  EXPECT_NE(result.messages.find("/save FILE"), std::string::npos) << result.messages;
}

TEST_F(LanguageModelCommand, ChatObeysCommandsBehindSpaces) {
  const Result result = rapt("chat", "--max-tokens 5", "  /help\n /quit\nfour\n");
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.messages.find("/save FILE"), std::string::npos) << result.messages;
}

TEST_F(LanguageModelCommand, ChatGoesOnAfterAMistake) {
  const Result result = rapt("chat", "--context 40 --max-tokens 5", "/nope\n" + std::string(60, 'x') + "\none\n");
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.messages.find("/nope: there is no such command"), std::string::npos) << result.messages;
  EXPECT_NE(result.messages.find("room for 40"), std::string::npos) << result.messages;
  EXPECT_GT(std::ranges::count(result.output, '\n'), 0);
}

TEST_F(LanguageModelCommand, ChatSaysWhenTheContextIsFull) {
  std::string lines;
  for (int i = 0; i < 6; ++i) lines += "a longer message\n";
  const Result result = rapt("chat", "--context 80 --max-tokens 5", lines);
  EXPECT_EQ(result.status, 0) << result.messages;
  EXPECT_NE(result.messages.find("outgrown the context of 80 tokens"), std::string::npos) << result.messages;
}

TEST_F(LanguageModelCommand, ChatSaysWhenTheContextIsMoreThanTheModelWasMadeFor) {
  const std::string text = "the model was made for 400 tokens";
  EXPECT_NE(rapt("chat", "--context 401", "").messages.find(text), std::string::npos);
  EXPECT_EQ(rapt("chat", "--context 400", "").messages.find(text), std::string::npos);
}

TEST_F(LanguageModelCommand, ChatNeedsATemplate) {
  std::filesystem::remove(model_ / "chat_template.jinja");
  const Result result = rapt("chat", "", "hello\n");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.messages.find("no chat template"), std::string::npos) << result.messages;
  EXPECT_NE(result.messages.find("use rapt generate"), std::string::npos) << result.messages;
}

}  // namespace
}  // namespace rapt
