/// The page in a browser, where both Node and Chromium are installed.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "formats/scratch.h"
#include "view/example_report.h"

namespace rapt::view {
namespace {

struct Outcome {
  int status = 0;
  std::string output;
};

Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), static_cast<int>(part.size()), pipe) != nullptr) outcome.output += part.data();
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string program(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const Outcome found = run(std::string("command -v ") + name);
    if (found.status == 0) return found.output.substr(0, found.output.find('\n'));
  }
  return "";
}

TEST(AttentionPageInABrowser, WorksByPointerKeyAndAddress) {
  const std::string node = program({"node", "nodejs"});
  const std::string chromium = program({"chromium", "chromium-browser", "google-chrome"});
  if (node.empty()) GTEST_SKIP() << "Node is not installed; it drives the browser";
  if (chromium.empty()) GTEST_SKIP() << "Chromium is not installed";
  const Scratch scratch;
  const std::string page = (scratch / "page.html").string();
  std::ofstream(page, std::ios::binary) << attention_page(example::report());
  const std::string script = std::string(RAPT_TEST_DATA) + "/../view/browser_check.mjs";
  const Outcome outcome =
      run("'" + node + "' '" + script + "' '" + chromium + "' '" + page + "' '" + (scratch / "profile").string() + "'");
  constexpr int does_not_start = 77;
  if (outcome.status == does_not_start) GTEST_SKIP() << "Chromium does not start here: " << outcome.output;
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace rapt::view
