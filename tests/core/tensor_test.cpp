#include "core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/float16.h"

namespace rapt {
namespace {

TEST(Shape, CountsAndPrintsItsExtents) {
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ(Shape().text(), "[]");
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.count(), 24);
  EXPECT_EQ(shape.text(), "[2, 3, 4]");
  EXPECT_EQ((Shape{5, 0}).count(), 0);
}

TEST(Shape, EqualityNeedsEqualRank) {
  EXPECT_TRUE((Shape{2, 3} == Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3} == Shape{3, 2}));
  EXPECT_FALSE((Shape{2, 3} == Shape{2, 3, 1}));
}

TEST(Shape, MoreThanSixDimensionsAreAnError) {
  const std::vector<std::int64_t> extents(7, 1);
  EXPECT_THROW(Shape{extents}, Error);
}

TEST(Tensor, UndefinedUntilItHasStorage) {
  EXPECT_FALSE(Tensor().defined());
  EXPECT_TRUE(Tensor::empty({0}, DType::f32).defined());
}

TEST(Tensor, CopiesShareElementsAndClonesDoNot) {
  const Tensor a = Tensor::zeros({3}, DType::f32);
  const Tensor shared = a;
  const Tensor cloned = a.clone();
  a.write<float>()[1] = 5;
  EXPECT_EQ(shared.data<float>()[1], 5);
  EXPECT_EQ(cloned.data<float>()[1], 0);
}

TEST(Tensor, StorageIsAligned) {
  for (const std::int64_t count : {1, 7, 100}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Tensor::empty({count}, DType::u8).raw()) % 64, 0U);
  }
}

TEST(Tensor, RowsAndReshapeAreViews) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const Tensor a = Tensor::of<float>({3, 2}, values);
  const Tensor rows = a.rows(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
  EXPECT_EQ(rows.data<float>()[0], 2);
  EXPECT_EQ(a.rows(3, 3).count(), 0);
  const Tensor flat = rows.reshape({4});
  flat.write<float>()[3] = 9;
  EXPECT_EQ(a.data<float>()[5], 9);
  EXPECT_THROW(a.rows(2, 1), Error);
  EXPECT_THROW(a.rows(0, 4), Error);
  EXPECT_THROW(a.rows(-1, 1), Error);
  EXPECT_THROW(Tensor::zeros({}, DType::f32).rows(0, 1), Error);
  EXPECT_THROW(a.reshape({5}), Error);
}

TEST(Tensor, ViewsKeepTheStorageAlive) {
  Tensor view;
  {
    const std::vector<float> values = {1, 2};
    view = Tensor::of<float>({2, 1}, values).rows(1, 2);
  }
  EXPECT_EQ(view.data<float>()[0], 2);
}

TEST(Tensor, ElementsAreReadAsTheirType) {
  const Tensor a = Tensor::zeros({2}, DType::f32);
  EXPECT_THROW(a.data<double>(), Error);
  EXPECT_THROW(a.write<bf16>(), Error);
  EXPECT_THROW((Tensor::of<float>({3}, std::vector<float>{1, 2})), Error);
}

TEST(Tensor, MappedStorageIsNotWritten) {
  float values[2] = {1, 2};
  const Tensor mapped({}, values, {2}, DType::f32, true);
  EXPECT_TRUE(mapped.read_only());
  EXPECT_EQ(mapped.data<float>()[1], 2);
  EXPECT_THROW(mapped.write<float>(), Error);
  EXPECT_THROW(mapped.raw_write(), Error);
  EXPECT_FALSE(mapped.clone().read_only());
}

TEST(Tensor, ConvertsBetweenFloatingTypes) {
  const std::vector<double> values = {
      0, -0.0, 1, -2.5, 3.14159265358979, 1e30, std::numeric_limits<double>::infinity()};
  const Tensor exact = Tensor::of<double>({7}, values);
  const Tensor single = exact.to(DType::f32);
  const Tensor half = exact.to(DType::bf16);
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(single.data<float>()[i], static_cast<float>(values[i]));
    EXPECT_EQ(half.data<bf16>()[i].bits, bf16(static_cast<float>(values[i])).bits);
  }
  EXPECT_THROW(Tensor::zeros({1}, DType::i32).to(DType::f32), Error);
  EXPECT_THROW(exact.to(DType::i64), Error);
}

TEST(Tensor, ReadsEveryKindOfF16) {
  // 1, -2, largest, smallest normal, smallest subnormal, -0, infinity.
  const std::vector<std::uint16_t> bits = {0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00};
  const std::vector<float> expected = {1, -2, 65504, 0x1p-14f, 0x1p-24f, -0.0f, std::numeric_limits<float>::infinity()};
  const Tensor source = Tensor::empty({7}, DType::f16);
  std::memcpy(source.raw_write(), bits.data(), source.bytes());
  const Tensor converted = source.to(DType::f32);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(converted.data<float>()[i], expected[i]);
    EXPECT_EQ(std::signbit(converted.data<float>()[i]), std::signbit(expected[i]));
  }
}

TEST(Tensor, WritesTheNearestF16) {
  const auto bits_of = [](float value) { return f16_of_float(value); };
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_of_f16(half);
    ASSERT_EQ(bits_of(value), half);
    ASSERT_EQ(bits_of(-value), half | 0x8000u);
    if (bits + 1 == 0x7c00) continue;
    // Between two halves: the nearer one, and in the middle the even one.
    const float next = float_of_f16(static_cast<std::uint16_t>(bits + 1));
    const float middle = value + (next - value) / 2;
    ASSERT_EQ(bits_of(middle), bits + bits % 2);
    ASSERT_EQ(bits_of(std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(bits_of(std::nextafter(middle, next)), bits + 1);
  }
  EXPECT_EQ(bits_of(65519.996F), 0x7bff);
  EXPECT_EQ(bits_of(65520.0F), 0x7c00);
  EXPECT_EQ(bits_of(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(float_of_f16(bits_of(std::numeric_limits<float>::quiet_NaN()))));
  const std::vector<float> values = {1, -2, 0.1F};
  const Tensor half = Tensor::of<float>({3}, values).to(DType::f16);
  EXPECT_EQ(static_cast<const std::uint16_t*>(half.raw())[2], 0x2e66);
}

TEST(Bf16, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3f80);             // half-way, to even
  EXPECT_EQ(bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3f82);   // half-way, to even
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);  // above half-way
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace rapt
