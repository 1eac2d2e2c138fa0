#include "cli/input.h"

#include <chrono>

#include "cli/output.h"
#include "text/utf8.h"

namespace rapt::cli {

Input::Input(const std::string& path) : reader_(path) {}

std::vector<std::string> Input::next_lines() {
  constexpr std::size_t at_once = 1024;
  // A program that writes as fast as it can has filled the pipe again by then, and nobody notices it in an answer.
  constexpr std::chrono::milliseconds patience(20);
  std::chrono::steady_clock::time_point deadline;
  std::vector<std::string> lines;
  for (std::string line; lines.size() < at_once && (lines.empty() || reader_.ready(deadline)) && reader_.next(line);) {
    if (lines.empty()) deadline = std::chrono::steady_clock::now() + patience;
    if (first_invalid_utf8(line) != std::string::npos) {
      warn("{}: byte {} is not UTF-8; it is read as U+FFFD", reader_.where(), first_invalid_utf8(line) + 1);
      line = replace_invalid_utf8(line);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string read_text(const std::string& path) {
  LineReader reader(path);
  std::string text;
  for (std::string line; reader.next(line);) text += (reader.lines() > 1 ? "\n" : "") + line;
  require_utf8(text, path == "-" ? "standard input" : path);
  return text;
}

}  // namespace rapt::cli
