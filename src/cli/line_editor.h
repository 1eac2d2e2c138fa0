/// Lines that a person types at a terminal.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace rapt::cli {

/// Reads lines with editing and a history (libedit; ~/.editrc holds). Ctrl-C clears the line, Ctrl-D on an empty one
/// ends. A text of several lines that is pasted stands in the line as "[paste #1: 12 lines]" until the line is sent.
class LineEditor {
 public:
  /// `history`: the file that lines are kept in from one run to the next; none if empty. There may be one editor at a
  /// time.
  LineEditor(std::string prompt, const std::filesystem::path& history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// The next line, with what was pasted into it; nothing at the end.
  std::optional<std::string> next_line();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Where programs keep such things (XDG Base Directory Specification): $XDG_STATE_HOME/rapt/NAME, else
/// ~/.local/state/rapt/NAME; empty if there is no home.
std::filesystem::path state_file(const std::string& name);

}  // namespace rapt::cli
