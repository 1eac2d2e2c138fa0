/// Pages in a browser, where both Node and Chromium are installed.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "formats/scratch.h"

namespace rapt {

struct Outcome {
  int status = 0;
  std::string output;
};

inline Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), static_cast<int>(part.size()), pipe) != nullptr) outcome.output += part.data();
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

inline std::string find_program(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const Outcome found = run(std::string("command -v ") + name);
    if (found.status == 0) return found.output.substr(0, found.output.find('\n'));
  }
  return "";
}

/// Runs a check of tests/view, such as browser_check.mjs, on a page; skips the test where there is no browser.
inline void check_in_browser(const std::string& check, const std::filesystem::path& page,
                             const std::filesystem::path& more = {}) {
  const std::string node = find_program({"node", "nodejs"});
  const std::string chromium = find_program({"chromium", "chromium-browser", "google-chrome"});
  if (node.empty()) GTEST_SKIP() << "Node is not installed; it drives the browser";
  if (chromium.empty()) GTEST_SKIP() << "Chromium is not installed";
  const Scratch scratch;
  std::string command;
  for (const std::string& word : {node, std::string(RAPT_TEST_DATA) + "/../view/" + check, chromium, page.string(),
                                  (scratch / "profile").string(), more.string()})
    command += "'" + word + "' ";
  const Outcome outcome = run(command);
  constexpr int does_not_start = 77;
  if (outcome.status == does_not_start) GTEST_SKIP() << "Chromium does not start here: " << outcome.output;
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace rapt
