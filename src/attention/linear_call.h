/// From a problem in linear form to what the inner loops take.
#pragma once

#include <vector>

#include "attention/linear_kernel.h"
#include "core/context.h"
#include "rapt/linear_attention.h"

namespace rapt::attention::linear {

/// The type that `dtype` is computed with.
constexpr DType scalar_type(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}
/// Whether outputs are divided by the sum of weights.
bool is_normalised(const LinearForm& form);
/// Rows of the matrix in a state.
std::int64_t features_of(const LinearProblem& problem);

/// A call and the memory that it points to, but for the operands q to dv, which the caller fills in.
class PreparedCall {
 public:
  PreparedCall(const Kernels& inner_loops, const LinearProblem& problem, DType dtype, int threads);
  PreparedCall(const PreparedCall&) = delete;
  PreparedCall& operator=(const PreparedCall&) = delete;

  const Kernels& kernels;
  Context ctx;
  Call call;
  Sizes sizes;

 private:
  template <typename S>
  void point_to_tables(const LinearProblem& problem, std::vector<S>& tables);
  void point_to_directions(const RandomFeatures::Directions& directions);

  std::vector<float> f32_tables_;
  std::vector<double> f64_tables_;
};

Operand operand_of(const Rows& rows);
Item item_of(const Span& sequence, int head, int heads, int kv_head);

}  // namespace rapt::attention::linear
