#include "attention/linear_call.h"

#include <cmath>

#include "attention/call.h"
#include "attention/linear_features.h"

namespace rapt::attention::linear {
namespace {

using Kind = LinearForm::Kind;

template <typename S>
void append_decay_table(double decay, std::vector<S>& tables) {
  std::vector<double> powers(chunk_tokens + 1, 1.0), slopes(chunk_tokens + 1, 0.0);
  for (std::size_t n = 1; n < powers.size(); ++n) {
    powers[n] = powers[n - 1] * decay;
    slopes[n] = static_cast<double>(n) * powers[n - 1];
  }
  const std::size_t begin = tables.size();
  tables.resize(begin + DecayTable::size);
  const auto at = [&](int part, std::size_t n) -> S& { return tables[begin + static_cast<std::size_t>(part) + n]; };
  for (std::size_t n = 0; n < powers.size(); ++n) {
    at(DecayTable::powers, n) = static_cast<S>(powers[n]);
    at(DecayTable::slopes, n) = static_cast<S>(slopes[n]);
    if (n == chunk_tokens) break;
    at(DecayTable::reversed, chunk_tokens - 1 - n) = static_cast<S>(powers[n]);
    at(DecayTable::reversed_slopes, chunk_tokens - 1 - n) = static_cast<S>(slopes[n]);
  }
}

/// A DecayTable for each head of retention, or one for all heads of the other forms.
template <typename S>
std::vector<S> decay_tables(const Problem& problem) {
  std::vector<S> tables;
  if (problem.linear->kind != Kind::retention) {
    append_decay_table(1, tables);
    return tables;
  }
  const auto* decays = static_cast<const S*>(problem.linear->decays);
  for (int head = 0; head < problem.heads; ++head) append_decay_table(static_cast<double>(decays[head]), tables);
  return tables;
}

}  // namespace

std::int64_t features_of(const Problem& problem) {
  return problem.linear->kind == Kind::favor ? problem.linear->features.count() : problem.d_key;
}

PreparedCall::PreparedCall(const Kernels& inner_loops, const Problem& problem, const Inputs& inputs, int threads)
    : kernels(inner_loops), ctx({.threads = threads}) {
  const LinearForm& form = *problem.linear;
  const DType dtype = inputs.q.dtype;
  const bool favor = form.kind == Kind::favor, retention = form.kind == Kind::retention;
  constexpr Map maps[] = {Map::elu_plus_one, Map::relu, Map::favor, Map::none, Map::none};
  call = {.dtype = dtype,
          .map = maps[static_cast<int>(form.kind)],
          .normalised = form.is_normalised(),
          .decayed = retention,
          .delta = form.kind == Kind::gated_delta,
          .causal = problem.visibility.is_causal(),
          .heads = problem.heads,
          .d_key = problem.d_key,
          .d_value = problem.d_value,
          .width = static_cast<std::int32_t>(features_of(problem)),
          .query_scale = favor                  ? std::sqrt(problem.scale)
                         : form.is_normalised() ? 1.0
                                                : problem.scale,
          .key_scale = favor ? std::sqrt(problem.scale) : 1.0,
          .decay_stride = retention ? DecayTable::size : 0,
          .q = operand(inputs.q),
          .k = operand(inputs.k),
          .v = operand(inputs.v),
          .alpha = operand(form.alpha),
          .beta = operand(form.beta)};
  dtype == DType::f64 ? point_to_tables(problem, f64_tables_) : point_to_tables(problem, f32_tables_);
  if (favor) point_to_directions(*form.features.directions());
  Item any{};
  any.heads = problem.heads / problem.kv_heads;
  kernels.measure(call, any, &sizes);
}

template <typename S>
void PreparedCall::point_to_tables(const Problem& problem, std::vector<S>& tables) {
  tables = decay_tables<S>(problem);
  call.decay_tables = tables.data();
}

void PreparedCall::point_to_directions(const RandomFeatures::Directions& directions) {
  const bool f64 = call.dtype == DType::f64;
  call.directions = f64 ? static_cast<const void*>(directions.f64.data()) : directions.f32.data();
  call.directions_t = f64 ? static_cast<const void*>(directions.f64_t.data()) : directions.f32_t.data();
  call.directions_stride = directions.stride;
  call.directions_t_stride = directions.stride_t;
}

}  // namespace rapt::attention::linear
