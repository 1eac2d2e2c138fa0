/// Reverse-mode differentiation: values that remember their gradients, and the tape that walks back over the
/// operations.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/context.h"
#include "core/ragged.h"

namespace rapt {

/// Where an operation puts the gradient of one of its inputs.
struct GradientSlot {
  Tensor tensor;
  bool accumulate = false;  ///< add to it instead of overwriting it
};

/// A tensor on the tape: its value, and its gradient once the tape has come back to it. Cheap to copy; copies are the
/// same value.
class Var {
 public:
  Var() = default;
  explicit Var(Tensor value) : state_(std::make_shared<State>(State{std::move(value), {}})) {}

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const { return state_->value; }
  const Shape& shape() const { return state_->value.shape(); }
  std::int64_t dim(int axis) const { return state_->value.dim(axis); }
  DType dtype() const { return state_->value.dtype(); }

  /// What has flowed back so far; undefined if nothing has.
  const Tensor& gradient() const { return state_->gradient; }
  /// Room for a gradient of the value's shape: new and to be overwritten, or the present one, to be added to.
  GradientSlot gradient_slot(Context& ctx) const;
  /// Adds `gradient`, taking the tensor over when it is the first; the caller must not write it afterwards.
  void add_gradient(Context& ctx, Tensor gradient) const;
  /// Hands the gradient to the operation that made this value and forgets it.
  Tensor take_gradient() const { return std::move(state_->gradient); }

 private:
  struct State {
    Tensor value;
    Tensor gradient;
  };
  std::shared_ptr<State> state_;
};

/// Values of a ragged batch: values [tokens, width], laid end to end, and where each sequence begins.
struct Ragged {
  Var values;
  Sequences sequences;
};

/// The backward halves of the operations of one step, in order. Set Context::tape to record.
class Tape {
 public:
  void record(std::function<void(Context&)> backward) { backward_.push_back(std::move(backward)); }
  /// Runs them last to first, freeing what each one kept, and leaves the tape empty.
  void run_backward(Context& ctx);
  std::size_t size() const { return backward_.size(); }

 private:
  std::vector<std::function<void(Context&)>> backward_;
};

}  // namespace rapt
