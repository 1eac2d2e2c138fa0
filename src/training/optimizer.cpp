#include "training/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/adam.h"
#include "kernels/elementwise.h"

namespace rapt::training {

void check(const OptimizerOptions& options) {
  require(options.beta1 >= 0 && options.beta1 < 1, "--beta1 is {}; it must lie in [0, 1)", options.beta1);
  require(options.beta2 >= 0 && options.beta2 < 1, "--beta2 is {}; it must lie in [0, 1)", options.beta2);
  require(options.epsilon > 0, "--epsilon is {}; it must be positive", options.epsilon);
  require(options.weight_decay >= 0, "--weight-decay is {}; it must not be negative", options.weight_decay);
  require(options.weight_decay == 0 || options.kind == OptimizerKind::adamw,
          "--weight-decay {} needs --optimizer adamw; adam has none", options.weight_decay);
}

Optimizer::Optimizer(const ParameterList& parameters, const OptimizerOptions& options)
    : parameters_(parameters), options_(options) {
  for (const WeightPtr& weight : distinct_weights(parameters)) {
    const Tensor& value = weight->value();
    slots_.push_back(
        {weight, Tensor::zeros(value.shape(), value.dtype()), Tensor::zeros(value.shape(), value.dtype())});
  }
}

double Optimizer::gradient_norm(const Context& ctx) const {
  double sum = 0;
  for (const Slot& slot : slots_) {
    const Tensor gradient = slot.weight->gradient();
    if (gradient.defined()) sum += kernels::sum_of_squares(ctx, gradient);
  }
  return std::sqrt(sum);
}

void Optimizer::update(const Context& ctx, double learning_rate, double gradient_scale) {
  ++updates_;
  for (const Slot& slot : slots_) {
    const Tensor gradient = slot.weight->gradient();
    if (!gradient.defined()) continue;
    const Tensor& value = slot.weight->value();
    kernels::adam_update(ctx,
                         {.learning_rate = learning_rate,
                          .beta1 = options_.beta1,
                          .beta2 = options_.beta2,
                          .epsilon = options_.epsilon,
                          .weight_decay = value.shape().rank() >= 2 ? options_.weight_decay : 0.0,
                          .gradient_scale = gradient_scale,
                          .step = updates_},
                         value, gradient, slot.m, slot.v);
    slot.weight->changed();
  }
}

void Optimizer::clear_gradients() {
  for (const Slot& slot : slots_) slot.weight->clear_gradient();
}

std::vector<StateTensor> Optimizer::moments() const {
  std::vector<StateTensor> result;
  for (const Parameter& parameter : parameters_) {
    const auto slot =
        std::ranges::find_if(slots_, [&](const Slot& candidate) { return candidate.weight == parameter.weight; });
    result.push_back({parameter.name + ".m", slot->m.rows(parameter.begin, parameter.end)});
    result.push_back({parameter.name + ".v", slot->v.rows(parameter.begin, parameter.end)});
  }
  return result;
}

}  // namespace rapt::training
