#include "core/tensor.h"

#include <fmt/format.h>

#include <cstring>

#include "core/aligned_memory.h"
#include "core/float16.h"

namespace rapt {
namespace {

template <typename To>
void convert(const Tensor& source, To* result) {
  const std::int64_t n = source.count();
  auto each = [&](auto read) {
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<To, bf16>) {
        result[i] = bf16(static_cast<float>(read(i)));
      } else if constexpr (std::is_same_v<To, std::uint16_t>) {
        result[i] = f16_of_float(static_cast<float>(read(i)));
      } else {
        result[i] = static_cast<To>(read(i));
      }
    }
  };
  switch (source.dtype()) {
    case DType::f64:
      return each([p = source.data<double>()](std::int64_t i) { return p[i]; });
    case DType::f32:
      return each([p = source.data<float>()](std::int64_t i) { return p[i]; });
    case DType::bf16:
      return each([p = source.data<bf16>()](std::int64_t i) { return static_cast<float>(p[i]); });
    case DType::f16:
      return each([p = static_cast<const std::uint16_t*>(source.raw())](std::int64_t i) { return float_of_f16(p[i]); });
    default:
      fail("cannot convert a tensor of {}", name_of(source.dtype()));
  }
}

}  // namespace

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  require(extents.size() <= max_rank, "a tensor has at most {} dimensions, not {}", static_cast<int>(max_rank),
          extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

std::int64_t Shape::count() const {
  std::int64_t result = 1;
  for (const std::int64_t extent : *this) result *= extent;
  return result;
}

std::string Shape::text() const {
  std::string result = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) result += ", ";
    result += std::to_string((*this)[axis]);
  }
  return result + "]";
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

Tensor Tensor::empty(Shape shape, DType dtype) {
  const std::size_t bytes = std::max<std::size_t>(64, static_cast<std::size_t>(shape.count()) * size_of(dtype));
  std::shared_ptr<std::byte> keep = line_memory(static_cast<std::int64_t>(bytes));
  void* const data = keep.get();
  return {std::move(keep), data, shape, dtype};
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor result = empty(shape, dtype);
  std::memset(result.raw_write(), 0, result.bytes());
  return result;
}

Tensor Tensor::reshape(Shape shape) const {
  require(shape.count() == count(), "cannot reshape {} to {}", shape_, shape);
  Tensor result = *this;
  result.shape_ = shape;
  return result;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  require(shape_.rank() > 0 && 0 <= begin && begin <= end && end <= dim(0), "rows {} to {} of a tensor {}", begin, end,
          shape_);
  std::array<std::int64_t, Shape::max_rank> extents{};
  std::copy(shape_.begin(), shape_.end(), extents.begin());
  extents[0] = end - begin;
  Tensor result = *this;
  result.shape_ = Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(shape_.rank())));
  const std::int64_t row = dim(0) > 0 ? count() / dim(0) : 0;
  if (end != dim(0)) result.spare_ = 0;
  result.data_ = static_cast<std::byte*>(data_) + static_cast<std::size_t>(begin * row) * size_of(dtype_);
  return result;
}

Columns Tensor::columns(std::int64_t begin, std::int64_t end) const {
  require(shape_.rank() == 2 && 0 <= begin && begin <= end && end <= dim(1), "columns {} to {} of a tensor {}", begin,
          end, shape_);
  const std::size_t size = size_of(dtype_);
  return {.data = static_cast<const std::byte*>(data_) + static_cast<std::size_t>(begin) * size,
          .row_bytes = static_cast<std::size_t>(dim(1)) * size,
          .bytes = static_cast<std::size_t>(end - begin) * size};
}

Tensor Tensor::to(DType dtype) const {
  Tensor result = empty(shape_, dtype);
  switch (dtype) {
    case DType::f64:
      convert(*this, result.write<double>());
      break;
    case DType::f32:
      convert(*this, result.write<float>());
      break;
    case DType::bf16:
      convert(*this, result.write<bf16>());
      break;
    case DType::f16:
      convert(*this, static_cast<std::uint16_t*>(result.raw_write()));
      break;
    default:
      fail("cannot convert a tensor to {}", name_of(dtype));
  }
  return result;
}

Tensor Tensor::clone() const {
  Tensor result = empty(shape_, dtype_);
  if (bytes() > 0) std::memcpy(result.raw_write(), data_, bytes());
  return result;
}

}  // namespace rapt

fmt::format_context::iterator fmt::formatter<rapt::Shape>::format(const rapt::Shape& shape,
                                                                  fmt::format_context& context) {
  return fmt::format_to(context.out(), "{}", shape.text());
}
