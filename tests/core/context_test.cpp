#include "core/context.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

namespace rapt {
namespace {

TEST(Context, ParallelForVisitsEveryIndexOnce) {
  for (const int threads : {1, 2, 3}) {
    const Context ctx({.threads = threads});
    for (const std::int64_t count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
      ctx.parallel_for(count, [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
      for (const auto& n : visits) EXPECT_EQ(n, 1);
    }
    ctx.parallel_for(-1, [](std::int64_t) { FAIL(); });
  }
}

TEST(Context, ParallelForThrowsWhatACallThrows) {
  for (const int threads : {1, 2, 3}) {
    const Context ctx({.threads = threads});
    try {
      ctx.parallel_for(100, [](std::int64_t i) { require(i != 57, "index {} is bad", i); });
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), "index 57 is bad");
    }
  }
}

TEST(Context, ParallelForThrowsWhatTheSmallestIndexThrows) {
  const Context ctx({.threads = 2});
  for (int repetition = 0; repetition < 20; ++repetition) {
    try {
      ctx.parallel_for(200, [](std::int64_t i) { require(i < 3, "index {} is bad", i); });
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "index 3 is bad");
    }
  }
}

TEST(Context, ParallelForWorksAgainAfterAnError) {
  const Context ctx({.threads = 2});
  EXPECT_THROW(ctx.parallel_for(10, [](std::int64_t) { fail("all calls fail"); }), Error);
  std::atomic<int> calls = 0;
  ctx.parallel_for(10, [&](std::int64_t) { ++calls; });
  EXPECT_EQ(calls, 10);
}

TEST(Context, UsesTheThreadsOfTheProcessUnlessTold) {
  EXPECT_EQ(Context().threads(), omp_get_max_threads());
  EXPECT_EQ(Context({.threads = 3}).threads(), 3);
}

TEST(Context, ContextsOfOneSeedDrawTheSameStreams) {
  Context a({.seed = 5});
  Context b({.seed = 5});
  Context c({.seed = 6});
  const RandomKey key = a.random.next();
  EXPECT_EQ(key, b.random.next());
  EXPECT_FALSE(key == c.random.next());
}

}  // namespace
}  // namespace rapt
