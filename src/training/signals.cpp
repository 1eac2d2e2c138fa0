#include "training/signals.h"

namespace rapt::training {
namespace {

volatile std::sig_atomic_t flag = 0;

/// A terminal's end is told more than once (by the kernel, by the shell), so that it never ends a process that is
/// saving.
extern "C" void remember(int /*signal*/) {
  flag = 1;
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  flag = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  // System calls in progress carry on: a signal during saving must not make a write fail.
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
  sigaction(SIGHUP, nullptr, &hang_up_);
  if (hang_up_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // ignored under nohup
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, &pipe_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  sigaction(SIGHUP, &hang_up_, nullptr);
  sigaction(SIGPIPE, &pipe_, nullptr);
}

bool StopSignals::received() const {
  return flag != 0;
}

}  // namespace rapt::training
