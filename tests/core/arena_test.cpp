#include "core/arena.h"

#include <gtest/gtest.h>

namespace rapt {
namespace {

TEST(Arena, MemoryOfDeadTensorsIsUsedAgain) {
  Arena arena;
  const void* first = nullptr;
  {
    const Tensor a = arena.allocate({1000}, DType::f32);
    first = a.raw();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
  }
  const std::size_t reserved = arena.reserved();
  const Tensor b = arena.allocate({1000}, DType::i32);
  EXPECT_EQ(b.raw(), first);
  EXPECT_EQ(arena.reserved(), reserved);
}

TEST(Arena, LivingTensorsDoNotShareMemory) {
  Arena arena;
  const Tensor a = arena.allocate({1000}, DType::f32);
  const Tensor view = arena.allocate({1000}, DType::f32).rows(0, 1);  // keeps its whole block
  const Tensor c = arena.allocate({1000}, DType::f32);
  EXPECT_NE(a.raw(), view.raw());
  EXPECT_NE(c.raw(), view.raw());
}

TEST(Arena, StepsOfOneKindAllocateOnce) {
  Arena arena;
  std::size_t after_first = 0;
  for (int step = 0; step < 5; ++step) {
    const Tensor a = arena.allocate({3000 + step, 64}, DType::bf16);  // sizes that differ little share a block
    const Tensor b = arena.allocate({10}, DType::f64);
    if (step == 0) after_first = arena.reserved();
    EXPECT_EQ(arena.reserved(), after_first);
  }
}

TEST(Arena, WastesAtMostAnEighth) {
  for (std::int64_t bytes = 2000; bytes < 3'000'000; bytes = bytes * 5 / 4 + 1) {
    Arena arena;
    arena.allocate({bytes}, DType::u8);
    EXPECT_GE(arena.reserved(), static_cast<std::size_t>(bytes));
    EXPECT_LE(arena.reserved(), static_cast<std::size_t>(bytes) * 9 / 8 + 1);
  }
}

TEST(Arena, TensorsMayOutliveIt) {
  Tensor a;
  {
    Arena arena;
    a = arena.allocate({4}, DType::f32);
  }
  a.write<float>()[3] = 1;
  EXPECT_EQ(a.data<float>()[3], 1);
}

TEST(Arena, EmptyTensorsAreDefined) {
  Arena arena;
  EXPECT_TRUE(arena.allocate({0, 8}, DType::f32).defined());
}

}  // namespace
}  // namespace rapt
