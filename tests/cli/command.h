/// `rapt` as a process.
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "formats/scratch.h"

namespace rapt {

struct CommandResult {
  int status = -1;  ///< what it ended with; 128 and more: the signal that ended it
  std::string output;
  std::string messages;
};

/// Runs `rapt ARGUMENTS`, words of the shell, with `input` for standard input.
inline CommandResult run_command(const std::string& arguments, const std::string& input = "") {
  const Scratch scratch;
  put(scratch / "in", input);
  const std::string line = std::string(RAPT_COMMAND) + " " + arguments + " < " + (scratch / "in").string() + " > " +
                           (scratch / "out").string() + " 2> " + (scratch / "err").string();
  const int status = WEXITSTATUS(std::system(line.c_str()));
  return {status, get(scratch / "out"), get(scratch / "err")};
}

/// Whether the command failed with one line on standard error that begins with "rapt: " and holds `part`, and with no
/// output but `output`.
inline testing::AssertionResult failed_with(const CommandResult& result, const std::string& part,
                                            const std::string& output = "") {
  const bool one_line = result.messages.starts_with("rapt: ") && std::ranges::count(result.messages, '\n') == 1;
  if (result.status == 1 && one_line && result.messages.find(part) != std::string::npos && result.output == output)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << "status " << result.status << ", output: " << result.output.substr(0, 200)
                                     << ", messages: " << result.messages.substr(0, 1000);
}

}  // namespace rapt
