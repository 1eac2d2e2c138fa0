/// From a problem in linear form to what the inner loops take.
#pragma once

#include <vector>

#include "attention/linear_kernel.h"
#include "core/context.h"
#include "rapt/linear_form.h"

namespace rapt::attention::linear {

/// Rows of the matrix in a state.
std::int64_t features_of(const Problem& problem);

/// A call and the memory that it points to. What else is read, and what is written, is left to the caller.
class PreparedCall {
 public:
  PreparedCall(const Kernels& inner_loops, const Problem& problem, const Inputs& inputs, int threads);
  PreparedCall(const PreparedCall&) = delete;
  PreparedCall& operator=(const PreparedCall&) = delete;

  const Kernels& kernels;
  Context ctx;
  Call call;
  Sizes sizes;

 private:
  template <typename S>
  void point_to_tables(const Problem& problem, std::vector<S>& tables);
  void point_to_directions(const RandomFeatures::Directions& directions);

  std::vector<float> f32_tables_;
  std::vector<double> f64_tables_;
};

}  // namespace rapt::attention::linear
