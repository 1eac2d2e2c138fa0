/// Parameters: what is learnt.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "kernels/gemm.h"

namespace rapt {

/// A learnt tensor with its gradient: a matrix [outputs, inputs], an embedding table [rows, width] or a vector. Held in
/// f32 (f64 in gradient checks) whatever type is computed in. One Weight may carry several named parameters as ranges
/// of rows (query, key and value projections that are multiplied at once).
class Weight {
 public:
  Weight(Shape shape, DType dtype) : shape_(shape), dtype_(dtype) {}

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  /// The numbers, kept from the first call on: all zero, unless there is a source.
  const Tensor& value() const;
  /// A table that is looked up and multiplied by and nothing else: a source may give it in bf16.
  bool is_table() const { return is_table_; }
  void set_table() { is_table_ = true; }
  /// For models that are run and not trained: where the numbers come from, when they are asked for. Products read it to
  /// pack it and keep the pack alone.
  /// `read_rows`, if not null, gives some rows in f32 without reading all. `exact`: a type that holds all of the
  /// numbers.
  using ReadRows = std::function<Tensor(std::span<const std::int32_t> rows)>;
  void set_source(std::function<Tensor()> source, ReadRows read_rows = {}, DType exact = DType::f32) {
    source_ = std::move(source);
    read_rows_ = std::move(read_rows);
    exact_ = exact;
  }
  /// Rows of a table, [rows, width] f32, for models whose source gives them; undefined for others: look into value().
  Tensor rows_from_source(std::span<const std::int32_t> rows) const;
  /// Tells that value() has been written to: what was derived from it is stale.
  void changed() { stale_ = true; }

  /// The matrix in the form that products want.
  const kernels::GemmWeight& matrix();

  /// Room for the gradient, with the same shape and type as the value: to be overwritten first and added to afterwards,
  /// until clear_gradient().
  struct Slot {
    Tensor tensor;
    bool accumulate;
  };
  Slot gradient_slot();
  /// The gradient for kernels that only add: zeroed before the first use.
  Tensor gradient_sum();
  /// Undefined until something has flowed back.
  Tensor gradient() const { return has_gradient_ ? gradient_ : Tensor(); }
  /// Forgets the gradient; its memory stays for the next step.
  void clear_gradient() { has_gradient_ = false; }

 private:
  bool has_value() const;

  Shape shape_;
  DType dtype_;
  std::function<Tensor()> source_;
  ReadRows read_rows_;
  DType exact_ = DType::f32;
  mutable std::mutex mutex_;  ///< two contexts may run one model
  mutable Tensor value_;
  Tensor gradient_;
  bool has_gradient_ = false;
  bool is_table_ = false;
  bool stale_ = true;
  kernels::GemmWeight matrix_;
};

using WeightPtr = std::shared_ptr<Weight>;

/// A named part of a Weight: rows [begin, end) of it, in the name and shape that checkpoints know.
struct Parameter {
  std::string name;
  WeightPtr weight;
  std::int64_t begin = 0;
  std::int64_t end = 0;

  Shape shape() const;
  Tensor value() const { return weight->value().rows(begin, end); }
  /// Undefined until something has flowed back.
  Tensor gradient() const {
    const Tensor whole = weight->gradient();
    return whole.defined() ? whole.rows(begin, end) : whole;
  }
};

/// The parameters of a model in a fixed order. A Weight that is used twice (tied embeddings) is listed once.
using ParameterList = std::vector<Parameter>;

/// The distinct weights of a list, in its order.
std::vector<WeightPtr> distinct_weights(const ParameterList& parameters);

}  // namespace rapt
