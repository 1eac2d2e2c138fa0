#include "cli/progress.h"

#include "cli/output.h"
#include "training/progress.h"

namespace rapt::cli {
ProgressLine::~ProgressLine() {
  erase_live_line();
}

void ProgressLine::show(double done, double total) {
  constexpr std::chrono::milliseconds patience(2000);
  constexpr std::chrono::milliseconds pause(250);
  const Clock::time_point now = Clock::now();
  if (now - start_ < patience || now - last_ < pause) return;
  last_ = now;
  show_live_line(training::progress_text(done, total, std::chrono::duration<double>(now - start_).count(), unit_));
}

}  // namespace rapt::cli
