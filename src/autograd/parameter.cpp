#include "autograd/parameter.h"

#include <algorithm>
#include <cstring>

namespace rapt {

const Tensor& Weight::value() const {
  const std::lock_guard lock(mutex_);
  if (!value_.defined()) value_ = source_ ? source_() : Tensor::zeros(shape_, dtype_);
  return value_;
}

const kernels::GemmWeight& Weight::matrix() {
  const bool from_source = source_ && !has_value();
  if (!from_source) value();
  const std::lock_guard lock(mutex_);
  if (stale_) {
    if (from_source) {
      matrix_.set(shape_, source_, read_rows_, exact_);
    } else {
      matrix_.set(value_);
    }
    stale_ = false;
  }
  return matrix_;
}

Tensor Weight::rows_from_source(std::span<const std::int32_t> rows) const {
  return read_rows_ && !has_value() ? read_rows_(rows) : Tensor();
}

bool Weight::has_value() const {
  const std::lock_guard lock(mutex_);
  return value_.defined();
}

Weight::Slot Weight::gradient_slot() {
  if (!gradient_.defined()) gradient_ = Tensor::empty(shape_, dtype_);
  const bool accumulate = has_gradient_;
  has_gradient_ = true;
  return {gradient_, accumulate};
}

Tensor Weight::gradient_sum() {
  const Slot slot = gradient_slot();
  if (!slot.accumulate) std::memset(slot.tensor.raw_write(), 0, slot.tensor.bytes());
  return slot.tensor;
}

Shape Parameter::shape() const {
  std::vector<std::int64_t> extents(weight->shape().begin(), weight->shape().end());
  extents[0] = end - begin;
  return Shape(extents);
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
