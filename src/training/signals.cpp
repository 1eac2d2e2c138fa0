#include "training/signals.h"

namespace rapt::training {
namespace {

volatile std::sig_atomic_t flag = 0;

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
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

bool StopSignals::received() const {
  return flag != 0;
}

}  // namespace rapt::training
