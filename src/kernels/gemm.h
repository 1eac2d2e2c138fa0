/// Products of matrices: the linear layers' forward and their two gradients.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/context.h"

namespace rapt::kernels {

/// A weight matrix W [n, k] (as Hugging Face stores a linear layer: n outputs, k inputs) prepared for products. Packing
/// into the layout that the processor likes happens at the first product after each change, once per direction and
/// type.
class GemmWeight {
 public:
  GemmWeight();
  ~GemmWeight();
  GemmWeight(GemmWeight&&) noexcept;
  GemmWeight& operator=(GemmWeight&&) noexcept;

  /// W [n, k], f32, bf16 or f64; kept by reference. Forgets what was packed.
  void set(const Tensor& weight);
  /// W of this shape in f32 or bf16, read when it has to be packed, and not kept; with `read_rows`, which gives some of
  /// its rows, never more than a part of it at once. `exact`: a type that holds all of its numbers.
  using ReadRows = std::function<Tensor(std::span<const std::int32_t> rows)>;
  void set(const Shape& shape, std::function<Tensor()> read, ReadRows read_rows = {}, DType exact = DType::f32);
  const Shape& shape() const { return shape_; }
  Tensor weight() const { return weight_.defined() ? weight_ : read_(); }

  /// Calls `use` with W or, if its rows can be read alone, with parts of `rows_at_once` of them on `threads` threads,
  /// each with its first row.
  void visit(std::int64_t rows_at_once, int threads,
             const std::function<void(std::int64_t row, const Tensor& part)>& use) const;
  bool reads_rows() const { return read_rows_ != nullptr; }
  /// In which W is packed for products in `type`: bf16 also for those in f32, where W is exact in it and the product
  /// can widen it.
  DType packed_type(DType type) const;

  struct Packs;
  Packs& packs() const { return *packs_; }

 private:
  Shape shape_;
  DType exact_ = DType::f32;
  Tensor weight_;
  std::function<Tensor()> read_;
  ReadRows read_rows_;
  std::unique_ptr<Packs> packs_;
};

struct GemmEpilogue {
  Tensor bias;              ///< [n] f32 (f64), added to each row; may be undefined
  bool relu = false;        ///< max(0, .) after the bias; NaN stays NaN
  bool accumulate = false;  ///< add to y instead of overwriting it (not with bias or relu)
};

/// y[m, n] = x[m, k] W^T, with the epilogue. x: f32, bf16 or f64; W is rounded to x's type. y: x's type, or f32.
/// A row of y depends on its row of x alone, and not on the number of rows or threads.
void gemm(const Context& ctx, const Tensor& x, const GemmWeight& weight, const GemmEpilogue& epilogue, const Tensor& y);

/// dx[m, k] (+)= dy[m, n] W, of one type; the gradient of gemm's input.
void gemm_input_gradient(const Context& ctx, const Tensor& dy, const GemmWeight& weight, bool accumulate,
                         const Tensor& dx);

/// dw[n, k] (+)= dy[m, n]^T x[m, k]: the gradient of gemm's weight. dw: f32 (f64 for f64).
void gemm_weight_gradient(const Context& ctx, const Tensor& dy, const Tensor& x, bool accumulate, const Tensor& dw);

/// Floating-point operations (2 m n k a product) since the program started, of all threads; for rates.
std::uint64_t gemm_flops();

}  // namespace rapt::kernels
