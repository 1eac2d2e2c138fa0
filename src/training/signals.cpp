#include "training/signals.h"

namespace rapt::training {
namespace {

volatile std::sig_atomic_t flag = 0;
void (*before_the_end)() = nullptr;

/// A terminal's end is told more than once (by the kernel, by the shell), so that it never ends a process that is
/// saving.
extern "C" void remember(int signal) {
  const bool ends = flag != 0 && signal != SIGHUP;
  flag = 1;
  if (!ends) return;
  if (before_the_end != nullptr) before_the_end();
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  raise(signal);  // which takes effect when this returns
}

}  // namespace

StopSignals::StopSignals(void (*last)()) {
  flag = 0;
  before_the_end = last;
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
