// The fuzz targets on their seeds and on every input that once made one of them fail (tests/fuzz/corpus).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "fuzz/targets.h"

namespace rapt {
namespace {

const std::filesystem::path kCorpus = std::filesystem::path(RAPT_TEST_DATA).parent_path() / "fuzz" / "corpus";
const std::filesystem::path kData = RAPT_TEST_DATA;
const std::filesystem::path kText = kData / "text";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Runs the target on every file of its corpus; how many those are.
int run_corpus(const std::string& target, void (*run)(std::string_view)) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus / target)) {
    SCOPED_TRACE(entry.path());
    run(read(entry.path()));
    ++inputs;
  }
  return inputs;
}

/// Beginnings of the input, about `count`.
void run_beginnings(std::string_view input, std::size_t count, void (*run)(std::string_view)) {
  for (std::size_t i = 0; i < input.size(); i += 1 + input.size() / count) run(input.substr(0, i));
}

TEST(FuzzCorpus, Gguf) {
  EXPECT_GE(run_corpus("gguf", fuzz::gguf), 2);
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kData / "gguf")) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string file = read(entry.path());
    fuzz::gguf(file);
    run_beginnings(file, 60, fuzz::gguf);
    ++models;
  }
  EXPECT_GT(models, 3);
}

TEST(FuzzCorpus, Safetensors) {
  EXPECT_GE(run_corpus("safetensors", fuzz::safetensors), 3);
  run_beginnings(read(kData / "llama-tiny" / "model.safetensors"), 200, fuzz::safetensors);
}

TEST(FuzzCorpus, ConfigJson) {
  run_corpus("config_json", fuzz::config_json);
  int configs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kData)) {
    const std::filesystem::path file = entry.path() / "config.json";
    if (!std::filesystem::exists(file)) continue;
    const std::string json = read(file);
    SCOPED_TRACE(file);
    fuzz::config_json(json);
    run_beginnings(json, 60, fuzz::config_json);
    ++configs;
  }
  EXPECT_GT(configs, 20);
}

TEST(FuzzCorpus, TokenizerJson) {
  int inputs = run_corpus("tokenizer_json", fuzz::tokenizer_json);
  for (const auto& entry : std::filesystem::directory_iterator(kText / "pipeline")) {
    const std::filesystem::path file = entry.path() / "tokenizer.json";
    if (!std::filesystem::exists(file)) continue;
    const std::string json = read(file);
    for (const std::string text : {"", "A text, with \U0001F9A9 and <s>.", "\x01\x02\xFF"})
      fuzz::tokenizer_json(json + '\0' + text);
    run_beginnings(json, 60, fuzz::tokenizer_json);
    ++inputs;
  }
  EXPECT_GT(inputs, 15);
}

TEST(FuzzCorpus, ChatTemplate) {
  int inputs = run_corpus("chat_template", fuzz::chat_template);
  for (const auto& entry : std::filesystem::directory_iterator(kText / "chat")) {
    const std::string source = read(entry.path());
    run_beginnings(source, 200, fuzz::chat_template);
    fuzz::chat_template(source + '\0' + "Hello");
    ++inputs;
  }
  EXPECT_GT(inputs, 5);
}

}  // namespace
}  // namespace rapt
