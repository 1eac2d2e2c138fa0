// `rapt embed` as a process.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/command.h"
#include "formats/npy.h"
#include "rapt/embedder.h"
#include "rapt/word_embedder.h"

namespace rapt {
namespace {

const std::filesystem::path data = RAPT_TEST_DATA;

class EmbedCommand : public testing::Test {
 protected:
  EmbedCommand() : model_(data / "embed-tiny") {
    put(scratch_ / "lines", "Two men are walking.\n\nA dog runs!\n");
    expected_ = Embedder(model_).embed(std::vector<std::string>{"Two men are walking.", "", "A dog runs!"});
  }

  using Result = CommandResult;
  static Result command(const std::string& arguments) { return run_command("embed " + arguments); }
  Result embed(const std::string& more = "") const {
    return command(model_.string() + " --input " + (scratch_ / "lines").string() + " " + more);
  }

  Scratch scratch_;
  std::filesystem::path model_;
  std::vector<std::vector<float>> expected_;
};

TEST_F(EmbedCommand, WritesAListOfNumbersForEachLine) {
  const Result result = embed();
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.messages, "");
  std::istringstream lines(result.output);
  std::vector<std::vector<float>> found;
  for (std::string line; std::getline(lines, line);)
    found.push_back(nlohmann::json::parse(line).get<std::vector<float>>());
  EXPECT_EQ(found, expected_);
}

TEST_F(EmbedCommand, WritesNpyToStandardOutputAndToAFile) {
  std::string expected = npy_header(3, 16);
  for (const auto& vector : expected_)
    expected.append(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
  EXPECT_EQ(embed("--format npy").output, expected);
  put(scratch_ / "vectors.npy", "old");
  EXPECT_EQ(embed("--format npy --output " + (scratch_ / "vectors.npy").string()).output, "");
  EXPECT_EQ(get(scratch_ / "vectors.npy"), expected);
}

TEST_F(EmbedCommand, LeavesTheOldFileWhenItFails) {
  put(scratch_ / "vectors", "old");
  put(scratch_ / "empty.gz", std::string("\x1f\x8b\x08\x00", 4));  // a gzip file that breaks off
  const Result result = command(model_.string() + " --input " + (scratch_ / "empty.gz").string() + " --output " +
                                (scratch_ / "vectors").string());
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.messages.find("empty.gz"), std::string::npos) << result.messages;
  EXPECT_EQ(get(scratch_ / "vectors"), "old");
}

TEST_F(EmbedCommand, WritesCosines) {
  const Result result = embed("--similarity --no-normalize");
  std::istringstream numbers(result.output);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      double product = 0;
      for (std::size_t k = 0; k < 16; ++k) product += static_cast<double>(expected_[i][k]) * expected_[j][k];
      double cosine = -2;
      numbers >> cosine;
      EXPECT_NEAR(cosine, product, 2e-6) << i << " " << j;
    }
  }
  EXPECT_EQ(std::ranges::count(result.output, '\n'), 3);
  EXPECT_EQ(std::ranges::count(result.output, '\t'), 6);
}

TEST_F(EmbedCommand, RefusesToNormalizeAndNot) {
  const Result result = embed("--normalize --no-normalize");
  EXPECT_NE(result.status, 0);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.messages.find("--normalize and --no-normalize do not go together"), std::string::npos)
      << result.messages;
}

TEST_F(EmbedCommand, NamesLinesThatAreNotReadWhole) {
  std::string text = "a\n";
  for (int i = 0; i < 30; ++i) text += "dog ";
  put(scratch_ / "lines", text + "\nb\xff\n");
  const Result result = embed();
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.messages.find("line 2 is too long: its last 8 tokens are left out, as the model reads 24"),
            std::string::npos)
      << result.messages;
  EXPECT_NE(result.messages.find("line 3: byte 2 is not UTF-8; it is read as U+FFFD"), std::string::npos)
      << result.messages;
  EXPECT_EQ(std::ranges::count(result.output, '\n'), 3);
}

TEST_F(EmbedCommand, SaysThatThereIsNoModulesJson) {
  std::filesystem::copy(model_, scratch_ / "bare", std::filesystem::copy_options::recursive);
  std::filesystem::remove(scratch_ / "bare" / "modules.json");
  model_ = scratch_ / "bare";
  EXPECT_NE(embed().messages.find("there is no modules.json; a line's vector is the mean"), std::string::npos);
}

TEST_F(EmbedCommand, EmptyInputGivesNoRows) {
  put(scratch_ / "lines", "");
  EXPECT_EQ(embed().output, "");
  EXPECT_EQ(embed("--similarity").output, "");
  EXPECT_EQ(embed("--format npy").output, npy_header(0, 16));
}

TEST_F(EmbedCommand, SaysInOneLineWhatIsWrong) {
  for (const char* name : {"gpt2-tiny", "marian-tiny"}) {
    model_ = data / name;
    const Result result = embed();
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.messages.find("rapt embed needs an encoder"), std::string::npos) << result.messages;
    EXPECT_EQ(std::ranges::count(result.messages, '\n'), 1) << result.messages;
  }
  model_ = data / "gpt2-tiny";
  EXPECT_NE(embed().messages.find("for a vector of each word, give --words"), std::string::npos);
  model_ = data / "embed-tiny";
  EXPECT_NE(embed("--similarity --format npy").status, 0);
}

TEST_F(EmbedCommand, WritesTheVectorsOfWords) {
  const std::string text = "Two men are walking.";
  const WordVectors expected = WordEmbedder(model_).embed(text);
  std::istringstream lines(embed("--words --layer all").output);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json["line"] != 1) continue;
    const std::size_t word = count / 3;
    ASSERT_LT(word, expected.words.size());
    EXPECT_EQ(json["word"], expected.words[word].text);
    EXPECT_EQ(text.substr(json["begin"], json["end"].get<std::size_t>() - json["begin"].get<std::size_t>()),
              json["word"]);
    EXPECT_EQ(json["layer"], count % 3);
    const auto vector = expected.vector(word, count % 3);
    EXPECT_EQ(json["vector"].get<std::vector<float>>(), std::vector<float>(vector.begin(), vector.end()));
    ++count;
  }
  EXPECT_EQ(count, 3 * expected.words.size());
  const std::string matrix = embed("--words --format npy").output;
  EXPECT_EQ(matrix.substr(0, npy_header(7, 16).size()), npy_header(7, 16));  // "A dog runs" has three
  EXPECT_EQ(matrix.size(), npy_header(7, 16).size() + 7 * 16 * sizeof(float));
  EXPECT_NE(embed("--words --layer 3").messages.find("there is no layer 3"), std::string::npos);
  EXPECT_NE(embed("--words --layer x").messages.find("expected a number or all"), std::string::npos);
  EXPECT_NE(embed("--layer 1").status, 0);
  EXPECT_NE(embed("--words --similarity").status, 0);
}

}  // namespace
}  // namespace rapt
