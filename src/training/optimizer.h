/// Adam and AdamW over the weights of a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/parameter.h"

namespace rapt::training {

enum class OptimizerKind {
  adam,   ///< Kingma, Ba 2015
  adamw,  ///< with decoupled weight decay: Loshchilov, Hutter 2019
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adam;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-9;
  double weight_decay = 0;  ///< adamw: of tensors of rank 2 and more (matrices, embeddings), not of biases and norms
};

/// Throws Error, naming the option, for numbers outside their range.
void check(const OptimizerOptions& options);

/// A tensor of the optimizer's state and its name, as checkpoints keep it.
struct StateTensor {
  std::string name;
  Tensor tensor;
};

/// Holds the two moments of every weight, in the weight's own type.
class Optimizer {
 public:
  Optimizer(const ParameterList& parameters, const OptimizerOptions& options);

  /// Euclidean norm of all gradients together; not finite iff a gradient is not.
  double gradient_norm(const Context& ctx) const;
  /// One update of every weight that has a gradient, which is multiplied by gradient_scale first.
  void update(const Context& ctx, double learning_rate, double gradient_scale);
  void clear_gradients();

  /// Updates made so far.
  std::int64_t updates() const { return updates_; }
  /// The moments as "<parameter>.m" and "<parameter>.v", by parameter, so that they do not depend on how weights are
  /// fused. The tensors share the optimizer's storage: writing to them restores it, together with restore().
  std::vector<StateTensor> moments() const;
  void restore(std::int64_t updates) { updates_ = updates; }

 private:
  struct Slot {
    WeightPtr weight;
    Tensor m;
    Tensor v;
  };
  std::vector<Slot> slots_;
  ParameterList parameters_;
  OptimizerOptions options_;
  std::int64_t updates_ = 0;
};

}  // namespace rapt::training
