#include "training/signals.h"

#include <gtest/gtest.h>

#include "formats/scratch.h"

namespace rapt::training {
namespace {

TEST(StopSignals, SetAFlagTheFirstTime) {
  StopSignals signals;
  EXPECT_FALSE(signals.received());
  raise(SIGTERM);
  EXPECT_TRUE(signals.received());
}

TEST(StopSignals, EndTheProcessTheSecondTime) {
  const pid_t child = in_child([] {
    const StopSignals signals;
    raise(SIGINT);
    raise(SIGTERM);
    return 0;
  });
  EXPECT_EQ(wait_for(child), -SIGTERM);
}

TEST(StopSignals, DoNotEndAProcessWhoseTerminalIsGone) {
  const pid_t child = in_child([] {
    const StopSignals signals;
    for (const int signal : {SIGHUP, SIGHUP, SIGPIPE}) raise(signal);
    return signals.received() ? 0 : 1;
  });
  EXPECT_EQ(wait_for(child), 0);
}

TEST(StopSignals, StayDeafUnderNohup) {
  const pid_t child = in_child([] {
    std::signal(SIGHUP, SIG_IGN);
    const StopSignals signals;
    raise(SIGHUP);
    return signals.received() ? 1 : 0;
  });
  EXPECT_EQ(wait_for(child), 0);
}

TEST(StopSignals, PutTheEarlierHandlersBack) {
  std::signal(SIGINT, SIG_IGN);
  {
    const StopSignals signals;
    EXPECT_FALSE(signals.received());
  }
  EXPECT_EQ(std::signal(SIGINT, SIG_DFL), SIG_IGN);
}

}  // namespace
}  // namespace rapt::training
