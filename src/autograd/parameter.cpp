#include "autograd/parameter.h"

#include <algorithm>
#include <cstring>

namespace rapt {

const kernels::GemmWeight& Weight::matrix() {
  if (stale_) {
    matrix_.set(value_);
    stale_ = false;
  }
  return matrix_;
}

Weight::Slot Weight::gradient_slot() {
  if (!gradient_.defined()) gradient_ = Tensor::empty(value_.shape(), value_.dtype());
  const bool accumulate = has_gradient_;
  has_gradient_ = true;
  return {gradient_, accumulate};
}

Tensor Weight::gradient_sum() {
  const Slot slot = gradient_slot();
  if (!slot.accumulate) std::memset(slot.tensor.raw_write(), 0, slot.tensor.bytes());
  return slot.tensor;
}

std::vector<WeightPtr> distinct_weights(const ParameterList& parameters) {
  std::vector<WeightPtr> weights;
  for (const Parameter& parameter : parameters) {
    if (std::find(weights.begin(), weights.end(), parameter.weight) == weights.end())
      weights.push_back(parameter.weight);
  }
  return weights;
}

}  // namespace rapt
