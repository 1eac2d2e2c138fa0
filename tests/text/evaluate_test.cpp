#include <gtest/gtest.h>
#include <sys/wait.h>
#include <zlib.h>

#include <cstdio>
#include <memory>

#include "text/helpers.h"

namespace rapt {
namespace {

struct Result {
  int status = -1;
  std::string output;  // both streams
};

/// Runs `rapt evaluate` with arguments for a shell.
Result evaluate(const std::string& arguments) {
  const std::string command = "( " + std::string(RAPT_COMMAND) + " evaluate " + arguments + " ) 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), [](FILE*) { return 0; });
  Result result;
  for (int c; (c = std::fgetc(pipe.get())) != EOF;) result.output.push_back(static_cast<char>(c));
  result.status = WEXITSTATUS(pclose(pipe.get()));
  return result;
}

void write_gz(const std::filesystem::path& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

class Evaluate : public testing::Test {
 protected:
  void SetUp() override {
    test::write_bytes(path("hyp"), "The cat sat on the mat.\nIt is 3.5% \"off\"!\r\n");
    test::write_bytes(path("ref"), "The cat sat on a mat.\nIt was 3.5% \"off\"!\n");
    test::write_bytes(path("ref2"), "A cat sat on the mat.\nIt is 3.5% off!");
    write_gz(path("ref.gz"), "The cat sat on a mat.\nIt was 3.5% \"off\"!\n");
  }
  std::string path(const std::string& name) const { return (directory_.path() / name).string(); }
  std::string files(const std::string& hypothesis, const std::string& reference) const {
    return "--hypothesis " + path(hypothesis) + " --reference " + path(reference);
  }

  /// The one line that a failing call must print.
  std::string message(const std::string& arguments, int status = 1) const {
    const Result result = evaluate(arguments);
    EXPECT_EQ(result.status, status) << result.output;
    EXPECT_TRUE(result.output.starts_with("rapt: ")) << result.output;
    EXPECT_EQ(result.output.find('\n'), result.output.size() - 1) << result.output;
    return result.output;
  }

  Scratch directory_;
};

// The scores are those of sacrebleu 2.6.0.
TEST_F(Evaluate, PrintsScoresAndSignatures) {
  const Result result = evaluate(files("hyp", "ref"));
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.output,
            "BLEU = 61.76 86.7/69.2/54.5/44.4 (BP = 1.000 ratio = 1.000 hyp_len = 15 ref_len = 15)\n"
            "chrF2 = 71.65\n"
            "BLEU signature: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:rapt-0.1.0\n"
            "chrF2 signature: nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:rapt-0.1.0\n");
}

TEST_F(Evaluate, ReadsCompressedFilesAndStandardInput) {
  const std::string expected = evaluate(files("hyp", "ref")).output;
  EXPECT_EQ(evaluate(files("hyp", "ref.gz")).output, expected);
  EXPECT_EQ(evaluate("--hypothesis - --reference " + path("ref.gz") + " < " + path("hyp")).output, expected);
}

TEST_F(Evaluate, PrintsJson) {
  const Result result = evaluate(files("hyp", "ref") + " --reference " + path("ref2") +
                                 " --json --tokenize intl --lowercase --chrf-words");
  EXPECT_EQ(result.status, 0);
  const nlohmann::json json = nlohmann::json::parse(result.output);
  EXPECT_TRUE(json["bleu"]["signature"].get<std::string>().starts_with("nrefs:2|case:lc|eff:no|tok:intl|"));
  EXPECT_EQ(json["chrf"]["name"], "chrF2++");
  EXPECT_EQ(json["bleu"]["precisions"].size(), 4u);
  EXPECT_GT(json["bleu"]["score"].get<double>(), 60);
}

TEST_F(Evaluate, SaysInOneLineWhatIsWrong) {
  test::write_bytes(path("short"), "only one line\n");
  test::write_bytes(path("latin1"), "fine\nna\xEFve\n");
  test::write_bytes(path("empty"), "");
  test::write_bytes(path("cut.gz"), test::read_bytes(path("ref.gz")).substr(0, 30));
  EXPECT_TRUE(test::contains(message(files("hyp", "none")), path("none")));
  EXPECT_TRUE(test::contains(message(files("hyp", "short")), "line 2 of " + path("hyp") + " has no counterpart"));
  EXPECT_TRUE(test::contains(message(files("short", "ref")), "line 2 of " + path("ref") + " has no counterpart"));
  EXPECT_TRUE(
      test::contains(message(files("hyp", "latin1")), path("latin1") + ": line 2 is not valid UTF-8 at byte 2"));
  EXPECT_TRUE(test::contains(message(files("empty", "ref")), "no lines"));
  EXPECT_TRUE(test::contains(message(files("hyp", "cut.gz")), path("cut.gz")));
  EXPECT_TRUE(test::contains(message("--hypothesis - --reference -", 2), "only one"));
  EXPECT_TRUE(test::contains(message(files("hyp", "ref") + " > /dev/full"), "standard output"));
}

TEST_F(Evaluate, RefusesUnknownTokenisations) {
  const Result result = evaluate(files("hyp", "ref") + " --tokenize zh");
  EXPECT_NE(result.status, 0);
  EXPECT_TRUE(test::contains(result.output, "--tokenize"));
}

}  // namespace
}  // namespace rapt
