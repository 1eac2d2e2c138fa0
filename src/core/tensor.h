/// Tensor: a typed, shaped, contiguous piece of shared storage.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "core/error.h"
#include "rapt/dtype.h"

namespace rapt {

/// Extents of a tensor, outermost first; at most 6.
class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  /// Number of elements; 1 for rank 0.
  std::int64_t count() const;
  /// "[3, 4]"
  std::string text() const;
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// A range of columns of a matrix, to read.
struct Columns {
  const std::byte* data = nullptr;  ///< of row 0
  std::size_t row_bytes = 0;        ///< from one row of the matrix to the next
  std::size_t bytes = 0;            ///< of one row of the range
  const std::byte* row(std::int64_t index) const { return data + static_cast<std::size_t>(index) * row_bytes; }
};

/// A typed, shaped, contiguous, row-major view of shared storage. Copying a Tensor copies the handle, not the elements.
/// Storage is owned, recycled by an Arena, or mapped from a file (then read-only).
class Tensor {
 public:
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  /// What is moved from becomes undefined.
  Tensor(Tensor&& other) noexcept { swap(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    Tensor taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Tensor() = default;
  /// Storage that somebody else provides; `keep` holds it alive.
  Tensor(std::shared_ptr<void> keep, void* data, Shape shape, DType dtype, bool read_only = false)
      : keep_(std::move(keep)), data_(data), shape_(shape), dtype_(dtype), read_only_(read_only) {}
  /// Writable storage with `spare` more bytes behind the last element, of no defined content.
  Tensor(std::shared_ptr<void> keep, void* data, Shape shape, DType dtype, std::size_t spare)
      : keep_(std::move(keep)), data_(data), spare_(spare), shape_(shape), dtype_(dtype) {}

  /// Owned storage, 64-byte aligned, not initialised.
  static Tensor empty(Shape shape, DType dtype);
  /// Owned storage, all zeros.
  static Tensor zeros(Shape shape, DType dtype);
  /// Owned copy of `values`.
  template <typename T>
  static Tensor of(Shape shape, std::span<const T> values);

  bool defined() const { return data_ != nullptr || (keep_ != nullptr); }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int axis) const { return shape_[axis]; }
  std::int64_t count() const { return shape_.count(); }
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype_); }
  bool read_only() const { return read_only_; }
  /// Bytes of the storage behind the last element that belong to nobody else; a matrix product may use them to round
  /// its number of rows up.
  std::size_t spare() const { return spare_; }

  /// The elements, to read. Throws when T is not the tensor's type.
  template <typename T>
  const T* data() const {
    check_type(dtype_of<T>);
    return static_cast<const T*>(data_);
  }
  /// The elements, to write. Throws when T is not the tensor's type or the storage is read-only.
  template <typename T>
  T* write() const {
    check_type(dtype_of<T>);
    check_writable();
    return static_cast<T*>(data_);
  }
  const void* raw() const { return data_; }
  void* raw_write() const {
    check_writable();
    return data_;
  }
  template <typename T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<std::size_t>(count())};
  }

  /// The same elements under another shape of equal count.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of the outermost axis, without a copy.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  /// Columns [begin, end) of a matrix, without a copy.
  Columns columns(std::int64_t begin, std::int64_t end) const;
  /// Owned copy, converted to `dtype` (f64, f32, bf16 and f16 on both sides).
  Tensor to(DType dtype) const;
  Tensor clone() const;

 private:
  void check_type(DType wanted) const {
    require(wanted == dtype_, "tensor holds {}, not {}", name_of(dtype_), name_of(wanted));
  }
  void check_writable() const { require(!read_only_, "tensor is mapped from a file and cannot be written"); }

  void swap(Tensor& other) noexcept {
    std::swap(keep_, other.keep_);
    std::swap(data_, other.data_);
    std::swap(spare_, other.spare_);
    std::swap(shape_, other.shape_);
    std::swap(dtype_, other.dtype_);
    std::swap(read_only_, other.read_only_);
  }

  std::shared_ptr<void> keep_;
  void* data_ = nullptr;
  std::size_t spare_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  bool read_only_ = false;
};

template <typename T>
Tensor Tensor::of(Shape shape, std::span<const T> values) {
  require(shape.count() == static_cast<std::int64_t>(values.size()), "{} values do not fill a tensor {}", values.size(),
          shape);
  Tensor result = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), result.write<T>());
  return result;
}

}  // namespace rapt

/// Shapes in messages: only those that are shown are made into text.
template <>
struct fmt::formatter<rapt::Shape> {
  static constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  static fmt::format_context::iterator format(const rapt::Shape& shape, fmt::format_context& context);
};
