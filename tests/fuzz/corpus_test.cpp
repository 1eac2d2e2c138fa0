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
const std::filesystem::path kText = std::filesystem::path(RAPT_TEST_DATA) / "text";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(FuzzCorpus, TokenizerJson) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus / "tokenizer_json")) {
    SCOPED_TRACE(entry.path());
    fuzz::tokenizer_json(read(entry.path()));
    ++inputs;
  }
  for (const auto& entry : std::filesystem::directory_iterator(kText / "pipeline")) {
    const std::filesystem::path file = entry.path() / "tokenizer.json";
    if (!std::filesystem::exists(file)) continue;
    const std::string json = read(file);
    for (const std::string text : {"", "A text, with \U0001F9A9 and <s>.", "\x01\x02\xFF"})
      fuzz::tokenizer_json(json + '\0' + text);
    for (std::size_t i = 0; i < json.size(); i += 1 + json.size() / 60) fuzz::tokenizer_json(json.substr(0, i));
    ++inputs;
  }
  EXPECT_GT(inputs, 15);
}

TEST(FuzzCorpus, ChatTemplate) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus / "chat_template")) {
    SCOPED_TRACE(entry.path());
    fuzz::chat_template(read(entry.path()));
    ++inputs;
  }
  for (const auto& entry : std::filesystem::directory_iterator(kText / "chat")) {
    const std::string source = read(entry.path());
    for (std::size_t i = 0; i < source.size(); i += 1 + source.size() / 200) fuzz::chat_template(source.substr(0, i));
    fuzz::chat_template(source + '\0' + "Hello");
    ++inputs;
  }
  EXPECT_GT(inputs, 5);
}

}  // namespace
}  // namespace rapt
