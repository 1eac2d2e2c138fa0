#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace rapt::kernels {
namespace {

TEST(Dispatch, RunsWhatTheEnvironmentAsksFor) {
  const char* wanted = std::getenv("RAPT_ISA");
  if (wanted == nullptr) {
    EXPECT_NE(name_of(isa()), "");
  } else {
    EXPECT_EQ(name_of(isa()), std::string(wanted));
  }
}

}  // namespace
}  // namespace rapt::kernels
