/// How far long work has got, for a person who waits.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace rapt::cli {

/// A line of the terminal (standard error) that is written over, and that makes way for what else is printed. It
/// appears when the work has taken two seconds; elsewhere than on a terminal, never.
class ProgressLine {
 public:
  /// unit: what is counted, in the plural.
  explicit ProgressLine(std::string_view unit) : unit_(unit) {}
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// total: 0 where nobody knows.
  void show(double done, double total);

 private:
  using Clock = std::chrono::steady_clock;

  std::string unit_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace rapt::cli
