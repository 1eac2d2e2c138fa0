/// Queries, keys and values as attention's operators take them.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "autograd/ops.h"

namespace rapt::ops {

inline attention::Rows rows_of(const Tensor& values, std::int64_t begin) {
  // Reading through a pointer to mutable data: the operator writes only to outputs and gradients.
  auto* data = static_cast<std::byte*>(const_cast<void*>(values.raw()));
  return {.dtype = values.dtype(),
          .data = data + static_cast<std::size_t>(begin) * size_of(values.dtype()),
          .stride = values.dim(1)};
}

inline attention::Rows rows_of(const HeadColumns& columns) {
  return rows_of(columns.values.value(), columns.begin);
}

/// What products of queries and keys are multiplied by.
inline double scale_of(const AttentionOptions& options) {
  return options.scale > 0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(options.d_head));
}

/// The type that sums over elements of a type are kept in.
inline DType scalar_type(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

/// The gradients of q, k and v, which may be columns of one value (fused projections) or of several. The operators
/// overwrite, so each value gets one fresh tensor, added to the value's gradient at the end.
class OperandGradients {
 public:
  attention::Rows rows(Context& ctx, const HeadColumns& columns) {
    for (auto& [value, gradient] : gradients_) {
      if (value.value().raw() == columns.values.value().raw()) return rows_of(gradient, columns.begin);
    }
    gradients_.emplace_back(columns.values, ctx.allocate(columns.values.shape(), columns.values.dtype()));
    return rows_of(gradients_.back().second, columns.begin);
  }
  void add(Context& ctx) {
    for (auto& [value, gradient] : gradients_) value.add_gradient(ctx, std::move(gradient));
  }

 private:
  std::vector<std::pair<Var, Tensor>> gradients_;
};

}  // namespace rapt::ops
