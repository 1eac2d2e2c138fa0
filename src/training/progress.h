/// The progress of a run for a person at a terminal or a log file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "training/records.h"

namespace rapt::training {

struct ProgressOptions {
  /// How wide the terminal is, on which one line is written over; nothing: plain lines.
  std::function<std::optional<int>()> columns = [] { return std::nullopt; };
  double seconds = 10;  ///< between lines, when they are plain
};

/// Formats what it observes and writes it to `out`, which must stay open. Rates are those since the line before.
class Progress final : public Observer {
 public:
  Progress(std::FILE* out, const ProgressOptions& options) : out_(out), options_(options) {}
  ~Progress() override;

  void began(const RunSummary& summary) override;
  void stepped(const StepRecord& record) override;
  void validated(const ValidationRecord& record) override;
  void note(std::string_view message) override;
  void warn(std::string_view message) override;

 private:
  void write_line(std::string_view line);
  /// A run goes on where its messages cannot be written (a full disk, a reader that has left).
  void write(std::string_view text);
  std::string text(const StepRecord& record, std::optional<int> columns) const;
  std::string time_left(const StepRecord& record) const;

  /// What has added up since the last line.
  struct Window {
    double seconds = 0;
    double flops = 0;
    std::int64_t tokens = 0;
    double loss = 0;
    double nll = 0;
    std::int64_t steps = 0;
  };

  std::FILE* out_;
  ProgressOptions options_;
  Window window_;
  std::string live_;  ///< the line that is being written over
  double machine_flops_ = 0;
  std::int64_t steps_ = 0;  ///< of the whole run; 0: not known
  bool stepped_ = false;
  double first_progress_ = 0;
  double first_seconds_ = 0;
};

/// "1:23:45", "12:34"
std::string clock_text(double seconds);
/// "34,500"
std::string grouped(std::int64_t number);
/// "  4 %  12 of 300 lines  1.5 lines/s  3:12 left", without what is not known. total: 0 where nobody knows.
std::string progress_text(double done, double total, double seconds, std::string_view unit);

}  // namespace rapt::training
