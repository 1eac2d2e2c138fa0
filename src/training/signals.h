/// Stopping a run from outside.
#pragma once

#include <csignal>

namespace rapt::training {

/// While it lives, the first SIGINT or SIGTERM only sets a flag (CERT SIG30-C, SIG31-C), so that the step in progress
/// can be finished and saved; the second one has its default effect and ends the process at once. At most one lives at
/// a time; the earlier handlers come back when it dies.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool received() const;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

}  // namespace rapt::training
