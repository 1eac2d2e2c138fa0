// `rapt evaluate MODEL` as a process.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "training/toy.h"

namespace rapt {
namespace {

using training::RunRequest;
using training::ToyPairs;

struct Result {
  int status = -1;
  std::string output;  // both streams
};

Result command(const std::string& arguments) {
  FILE* const pipe = popen(("( " + std::string(RAPT_COMMAND) + " " + arguments + " ) 2>&1").c_str(), "r");
  Result result;
  for (int c; (c = std::fgetc(pipe)) != EOF;) result.output.push_back(static_cast<char>(c));
  result.status = WEXITSTATUS(pclose(pipe));
  return result;
}

nlohmann::json scores(const std::string& arguments) {
  const Result result = command("evaluate " + arguments + " --json");
  EXPECT_EQ(result.status, 0) << result.output;
  return nlohmann::json::parse(result.output, nullptr, false);
}

/// The one line that a failing call prints, which ends with `status`.
std::string message(const std::string& arguments, int status) {
  const Result result = command("evaluate " + arguments);
  EXPECT_EQ(result.status, status) << result.output;
  EXPECT_TRUE(result.output.starts_with("rapt: ")) << result.output;
  EXPECT_EQ(result.output.find('\n'), result.output.size() - 1) << result.output;
  return result.output;
}

class EvaluateModel : public testing::Test {
 protected:
  EvaluateModel()
      : files_(training::put_toy_files(scratch_)), source_(scratch_ / "dev.en"), target_(scratch_ / "dev.de") {}

  std::string translator(const training::Settings& more) {
    training::run_toy(training::toy_request(files_, scratch_ / "model", more));
    return (scratch_ / "model").string();
  }
  std::string language_model() {
    training::run_toy({.output = scratch_ / "lm",
                       .files = {.pairs = {}, .dev_pairs = {}, .text = scratch_ / "train.en", .dev_text = {}},
                       .recipe = "nanogpt-cpu",
                       .settings = {{"decoder-layers", "1"},
                                    {"d-model", "16"},
                                    {"d-ff", "32"},
                                    {"heads", "2"},
                                    {"context", "16"},
                                    {"sequences", "4"},
                                    {"steps", "5"},
                                    {"warmup", "2"}},
                       .threads = 1,
                       .gauge_seconds = 0});
    return (scratch_ / "lm").string();
  }

  Scratch scratch_;
  training::TaskFiles files_;
  std::string source_;
  std::string target_;
};

TEST_F(EvaluateModel, TranslatesAndScores) {
  const std::string model = translator({{"steps", "30"}, {"attention", "encoder = linear elu"}});
  const std::string files = " --source " + source_ + " --reference " + target_;
  const auto found = scores(model + files);
  EXPECT_EQ(found["attention"], "encoder = linear elu; decoder = causal; cross = full");
  EXPECT_GT(found["reference"]["tokens"], 12);
  EXPECT_NEAR(found["reference"]["perplexity"], std::exp(found["reference"]["loss"].get<double>()), 1e-6);

  // The scores are those of what rapt translate writes.
  EXPECT_EQ(command("translate " + model + " --input " + source_ + " > " + (scratch_ / "hyp").string()).status, 0);
  const auto of_files = scores("--hypothesis " + (scratch_ / "hyp").string() + " --reference " + target_);
  EXPECT_EQ(found["bleu"], of_files["bleu"]);
  EXPECT_EQ(found["chrf"], of_files["chrf"]);

  const auto other = scores(model + files + " --use-attention 'encoder = window(0, 0)'");
  EXPECT_EQ(other["attention"], "encoder = window(0, 0); decoder = causal; cross = full");
  EXPECT_NE(other["reference"]["loss"], found["reference"]["loss"]);
  EXPECT_NE(command("evaluate " + model + files).output.find("\nreference: perplexity "), std::string::npos);
}

TEST_F(EvaluateModel, ReadsTextByASlidingWindow) {
  const std::string model = language_model();
  const std::string text = " --text " + source_;
  const auto found = scores(model + text);
  EXPECT_EQ(found["context"], 16);
  EXPECT_EQ(found["stride"], 8);
  EXPECT_EQ(found["attention"], "decoder = causal");
  const double bytes = static_cast<double>(get(source_).size());
  EXPECT_EQ(found["tokens"], bytes - 1) << "characters of a byte each, but the first";
  EXPECT_NEAR(found["bits_per_byte"], found["loss"].get<double>() * (bytes - 1) / bytes / std::log(2.0), 1e-9);
  EXPECT_NE(scores(model + text + " --context 4 --stride 1")["loss"], found["loss"]);
  EXPECT_NE(scores(model + text + " --use-attention 'linear elu'")["loss"], found["loss"]);
  EXPECT_EQ(scores(model + text + " --use-attention 'window(99, 0)'")["loss"], found["loss"]);
}

TEST_F(EvaluateModel, LinesThatAreNotUtf8AreRefusedOrDropped) {
  const std::string model = language_model();
  const std::string whole = get(source_);
  put(scratch_ / "mixed", whole + "caf\xe9\n");
  const std::string mixed = model + " --text " + (scratch_ / "mixed").string();
  EXPECT_NE(message(mixed, 1).find("--skip-invalid"), std::string::npos);
  EXPECT_EQ(scores(mixed + " --skip-invalid")["loss"], scores(model + " --text " + source_)["loss"]);
}

TEST_F(EvaluateModel, SaysInOneLineWhatIsWrong) {
  const std::string model = language_model();
  const std::string text = " --text " + source_;
  const auto expect = [](int status, const std::string& arguments, const std::string& expected) {
    const std::string found = message(arguments, status);
    EXPECT_NE(found.find(expected), std::string::npos) << found << "\ninstead of " << expected;
  };
  expect(2, "", "nothing to score");
  expect(2, "--text " + source_, "need a model");
  expect(2, model, "give --source and --reference to score translations, or --text");
  expect(2, model + text + " --source " + source_, "or --text");
  expect(2, model + " --source " + source_, "--reference is missing");
  expect(2, model + text + " --reference " + target_, "scored without --reference");
  expect(2, model + text + " --hypothesis " + target_, "scored without a model");
  expect(1, model + " --source " + source_ + " --reference " + target_, "does not translate");
  expect(1, model + text + " --context 17", "the model has 16 positions");
  expect(1, model + text + " --context 8 --stride 9", "must not exceed the context, 8");
  expect(1, model + text + " --use-attention 'windw(3)'", "attention: \"windw(3)\", column 1");
  expect(1, model + text + " --use-attention 'decoder.1 = full'", "the decoder has layers 0 to 0");
  expect(1, model + " --text " + (scratch_ / "nothing").string(), "nothing");
}

}  // namespace
}  // namespace rapt
