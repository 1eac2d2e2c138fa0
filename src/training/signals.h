/// Stopping a run from outside.
#pragma once

#include <csignal>

namespace rapt::training {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP only sets a flag (CERT SIG30-C, SIG31-C), so that the step in
/// progress can be finished and saved; another SIGINT or SIGTERM then has its default effect and ends the process at
/// once. Under nohup SIGHUP stays ignored. SIGPIPE is ignored: of `2>&1 | tee log`, Ctrl-C ends the reader first, and
/// what is written to it must not end the process before it has saved. At most one lives at a time; the earlier
/// handlers come back when it dies.
class StopSignals {
 public:
  /// last: is called before the process ends; of what may be called in a handler (signal-safety(7)).
  explicit StopSignals(void (*last)() = nullptr);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool received() const;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
  struct sigaction hang_up_ {};
  struct sigaction pipe_ {};
};

}  // namespace rapt::training
