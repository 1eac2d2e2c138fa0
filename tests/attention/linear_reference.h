/// What the tests of the linear forms compare with: the definitions as plain loops in float64, and examples of all
/// kinds.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <vector>

#include "attention/kernels.h"
#include "attention/linear_features.h"
#include "attention/testing.h"

namespace rapt::attention::linear {

using Kind = LinearForm::Kind;
using Path = LinearForm::Path;

/// The first `count` standard normal numbers of a seed; drawn once, for many examples differ in their form only.
inline std::span<const double> normal_numbers_of(std::uint64_t seed, std::size_t count) {
  struct Drawn {
    RandomSequence random;
    std::vector<double> numbers = {};
  };
  static std::map<std::uint64_t, Drawn> all;
  Drawn& drawn = all.try_emplace(seed, Drawn{RandomSequence(seed)}).first->second;
  while (drawn.numbers.size() < count) drawn.numbers.push_back(drawn.random.normal());
  return std::span(drawn.numbers).first(count);
}

/// Inputs in float64, rows without gaps.
struct Example {
  std::vector<Span> sequences;
  int heads = 1;
  int kv_heads = 1;
  int d_key = 1;
  int d_value = 1;
  double scale = 1;
  Kind kind = Kind::elu_plus_one;
  bool causal = true;
  RandomFeatures features = {};
  std::vector<double> q = {}, k = {}, v = {}, d_out = {}, alpha = {}, beta = {}, decays = {};

  std::int64_t query_tokens() const { return end_of_queries(sequences); }
  std::int64_t key_tokens() const { return end_of_keys(sequences); }
  int kv_head(int head) const { return head / (heads / kv_heads); }
  const double* query(const Span& s, int i, int head) const {
    return q.data() + (std::int64_t{s.query_begin + i} * heads + head) * d_key;
  }
  const double* key(const Span& s, int j, int head) const {
    return k.data() + (std::int64_t{s.key_begin + j} * kv_heads + kv_head(head)) * d_key;
  }
  const double* value(const Span& s, int j, int head) const {
    return v.data() + (std::int64_t{s.key_begin + j} * kv_heads + kv_head(head)) * d_value;
  }
  std::size_t gate(const Span& s, int j, int head) const {
    return static_cast<std::size_t>((s.key_begin + j) * kv_heads + kv_head(head));
  }
  /// Keys that query i sees: the first so many.
  int visible(const Span& s, int i) const {
    return causal ? std::max(0, s.key_count - s.query_count + i + 1) : s.key_count;
  }

  /// Draws all inputs: keys of the delta rule have length 1, gates and decays lie in (0, 1).
  Example& fill(std::uint64_t seed) {
    std::size_t taken = 0;
    const auto draw = [&](std::vector<double>& x, std::int64_t count) {
      const std::size_t begin = taken;
      taken += static_cast<std::size_t>(count);
      const auto numbers = normal_numbers_of(seed, taken).subspan(begin);
      x.assign(numbers.begin(), numbers.end());
    };
    RandomSequence random(seed + 1000000);
    const auto draw_gates = [&](std::vector<double>& x, std::int64_t count, double from) {
      x.resize(static_cast<std::size_t>(count));
      for (double& value : x) value = from + (1 - from) * random.uniform();
    };
    draw(q, query_tokens() * heads * d_key);
    draw(k, key_tokens() * kv_heads * d_key);
    draw(v, key_tokens() * kv_heads * d_value);
    draw(d_out, query_tokens() * heads * d_value);
    draw_gates(alpha, key_tokens() * kv_heads, 0.8);
    draw_gates(beta, key_tokens() * kv_heads, 0.1);
    draw_gates(decays, heads, 0.7);
    if (kind == Kind::gated_delta) normalise_keys();
    return *this;
  }
  void normalise_keys() {
    for (auto row = k.begin(); row != k.end(); row += d_key) {
      double square = 0;
      for (int i = 0; i < d_key; ++i) square += row[i] * row[i];
      for (int i = 0; i < d_key; ++i) row[i] /= std::sqrt(square);
    }
  }
};

/// An example at work, in type T. The example must outlive it.
template <typename T>
struct Trial {
  using S = Scalar<T>;
  const attention::Kernels& kernels;
  const Example& example;
  int threads;
  Storage<T> q, k, v, d_out, out, dq, dk, dv;
  Storage<S> alpha, beta, d_alpha, d_beta;
  std::vector<S> decays, d_decays, states, log_sum_exp;
  LinearForm form;

  explicit Trial(const Example& e, kernels::Isa isa = kernels::isa(), int with_threads = 2)
      : kernels(kernels_for(isa)),
        example(e),
        threads(with_threads),
        q(e.q, e.heads * e.d_key),
        k(e.k, e.kv_heads * e.d_key),
        v(e.v, e.kv_heads * e.d_value),
        d_out(e.d_out, e.heads * e.d_value),
        out(e.query_tokens(), e.heads * e.d_value, untouched),
        dq(e.query_tokens(), e.heads * e.d_key, untouched),
        dk(e.key_tokens(), e.kv_heads * e.d_key, untouched),
        dv(e.key_tokens(), e.kv_heads * e.d_value, untouched),
        alpha(e.alpha, e.kv_heads),
        beta(e.beta, e.kv_heads),
        d_alpha(e.key_tokens(), e.kv_heads, untouched),
        d_beta(e.key_tokens(), e.kv_heads, untouched),
        decays(e.decays.begin(), e.decays.end()),
        d_decays(e.decays.size(), static_cast<S>(untouched)),
        log_sum_exp(static_cast<std::size_t>(e.query_tokens() * e.heads), static_cast<S>(untouched)),
        form{.kind = e.kind,
             .features = e.features,
             .decays = decays.data(),
             .alpha = alpha.rows(),
             .beta = beta.rows(),
             .path = Path::chunked} {}
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  Problem problem() const {
    return {.sequences = example.sequences,
            .heads = example.heads,
            .kv_heads = example.kv_heads,
            .d_key = example.d_key,
            .d_value = example.d_value,
            .scale = example.scale,
            .visibility = example.causal ? Visibility::causal() : Visibility::full(),
            .linear = &form};
  }
  Inputs inputs(const void* before = nullptr) { return {q.rows(), k.rows(), v.rows(), before}; }
  Outputs outputs(void* after = nullptr) {
    return {.out = out.rows(), .log_sum_exp = form.is_normalised() ? log_sum_exp.data() : nullptr, .states = after};
  }
  Trial& forward(Path path = Path::chunked) {
    form.path = path;
    attention::forward(kernels, problem(), inputs(), outputs(), threads);
    return *this;
  }
  /// The same, leaving `states`.
  Trial& forward_with_states(Path path = Path::chunked) {
    form.path = path;
    states.assign(example.sequences.size() * static_cast<std::size_t>(state_size(problem())),
                  static_cast<S>(untouched));
    attention::forward(kernels, problem(), inputs(), outputs(states.data()), threads);
    return *this;
  }
  Trial& backward() {
    Gradients gradients{.q = dq.rows(), .k = dk.rows(), .v = dv.rows()};
    if (form.kind == Kind::gated_delta) gradients.alpha = d_alpha.rows();
    if (form.kind == Kind::gated_delta) gradients.beta = d_beta.rows();
    if (form.kind == Kind::retention) gradients.decays = d_decays.data();
    attention::backward(kernels, problem(), inputs(), {}, d_out.rows(), gradients, threads);
    return *this;
  }
  /// After forward().
  std::vector<float> weights(int sequence, int head) {
    const Span& s = example.sequences[static_cast<std::size_t>(sequence)];
    std::vector<float> result(static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
                              static_cast<float>(untouched));
    attention::weights(kernels, problem(), inputs(), outputs().log_sum_exp, sequence, head, result, threads);
    return result;
  }
  /// The example with its inputs rounded to T.
  Example rounded() const {
    Example result = example;
    result.q = q.values();
    result.k = k.values();
    result.v = v.values();
    result.d_out = d_out.values();
    result.alpha = alpha.values();
    result.beta = beta.values();
    result.decays.assign(decays.begin(), decays.end());
    return result;
  }
};

// The definitions.

inline double product(const double* a, const double* b, int count) {
  double result = 0;
  for (int i = 0; i < count; ++i) result += a[i] * b[i];
  return result;
}

inline bool is_normalised(const Example& e) {
  return e.kind == Kind::elu_plus_one || e.kind == Kind::relu || e.kind == Kind::favor;
}

/// phi(x), of favor relative to e^shift; x itself for retention.
inline std::vector<double> features_of(const Example& e, const double* x, double shift) {
  if (!is_normalised(e)) return {x, x + e.d_key};
  std::vector<double> result;
  if (e.kind == Kind::favor) {
    const RandomFeatures::Directions& w = *e.features.directions();
    for (int f = 0; f < w.count; ++f) {
      const double projection = product(w.f64.data() + f * w.stride, x, e.d_key) * std::sqrt(e.scale);
      result.push_back(std::exp(projection - e.scale * product(x, x, e.d_key) / 2 - shift));
    }
    return result;
  }
  for (int i = 0; i < e.d_key; ++i) {
    result.push_back(e.kind == Kind::relu ? std::max(x[i], 0.0) : x[i] > 0 ? x[i] + 1 : std::exp(x[i]));
  }
  return result;
}

/// The weights of one head of one sequence, [queries, keys]; not for the delta rule.
inline std::vector<double> reference_weights(const Example& e, const Span& s, int head) {
  std::vector<std::vector<double>> phi_k;
  for (int j = 0; j < s.key_count; ++j) phi_k.push_back(features_of(e, e.key(s, j, head), 0));
  std::vector<double> weights;
  for (int i = 0; i < s.query_count; ++i) {
    const std::vector<double> phi_q = features_of(e, e.query(s, i, head), 0);
    const int visible = e.visible(s, i);
    double sum = 0;
    for (int j = 0; j < visible; ++j) {
      double weight = product(phi_q.data(), phi_k[static_cast<std::size_t>(j)].data(), static_cast<int>(phi_q.size()));
      if (!is_normalised(e)) weight *= e.scale * std::pow(e.decays[static_cast<std::size_t>(head)], visible - 1 - j);
      sum += weight;
      weights.push_back(weight);
    }
    weights.resize(static_cast<std::size_t>(i + 1) * static_cast<std::size_t>(s.key_count));
    if (!is_normalised(e)) continue;
    for (auto weight = weights.end() - s.key_count; weight != weights.end(); ++weight) {
      *weight = sum == 0 ? 0 : *weight / sum;
    }
  }
  return weights;
}

/// The logs of the denominators, [query tokens, heads].
inline std::vector<double> reference_log_sum_exp(const Example& e) {
  std::vector<double> result(static_cast<std::size_t>(e.query_tokens() * e.heads), untouched);
  for (const Span& s : e.sequences) {
    for (int head = 0; head < e.heads; ++head) {
      std::vector<double> sums;  // of features of the keys seen so far
      int taken_in = 0;
      for (int i = 0; i < s.query_count; ++i) {
        const std::vector<double> phi_q = features_of(e, e.query(s, i, head), 0);
        sums.resize(phi_q.size());
        for (; taken_in < e.visible(s, i); ++taken_in) {
          const std::vector<double> phi_k = features_of(e, e.key(s, taken_in, head), 0);
          for (std::size_t f = 0; f < sums.size(); ++f) sums[f] += phi_k[f];
        }
        result[static_cast<std::size_t>((s.query_begin + i) * e.heads + head)] =
            std::log(product(phi_q.data(), sums.data(), static_cast<int>(sums.size())));
      }
    }
  }
  return result;
}

/// S_t of the delta rule as the paper writes it, [d_value, d_key], taken from S_(t-1) by key `j`.
inline void reference_step(const Example& e, const Span& s, int j, int head, std::vector<double>& state) {
  const double alpha = e.alpha[e.gate(s, j, head)], beta = e.beta[e.gate(s, j, head)];
  const double* k = e.key(s, j, head);
  const double* v = e.value(s, j, head);
  for (int i = 0; i < e.d_value; ++i) {
    double* row = state.data() + i * e.d_key;
    const double read = product(row, k, e.d_key);
    for (int f = 0; f < e.d_key; ++f) row[f] = alpha * (row[f] - beta * read * k[f]) + beta * v[i] * k[f];
  }
}

/// The outputs of one sequence and head, [queries, d_value].
inline std::vector<double> reference_delta(const Example& e, const Span& s, int head) {
  std::vector<double> state(static_cast<std::size_t>(e.d_value * e.d_key), 0.0), out;
  int taken_in = 0;
  for (int i = 0; i < s.query_count; ++i) {
    for (; taken_in < e.visible(s, i); ++taken_in) reference_step(e, s, taken_in, head, state);
    for (int c = 0; c < e.d_value; ++c) {
      out.push_back(e.scale * product(state.data() + c * e.d_key, e.query(s, i, head), e.d_key));
    }
  }
  return out;
}

inline std::vector<double> reference_sums(const Example& e, const Span& s, int head) {
  std::vector<double> out;
  const std::vector<double> weights = reference_weights(e, s, head);
  for (int i = 0; i < s.query_count; ++i) {
    std::vector<double> sums(static_cast<std::size_t>(e.d_value));
    for (int j = 0; j < s.key_count; ++j) {
      const double weight = weights[static_cast<std::size_t>(i * s.key_count + j)];
      for (int c = 0; c < e.d_value; ++c) sums[static_cast<std::size_t>(c)] += weight * e.value(s, j, head)[c];
    }
    out.insert(out.end(), sums.begin(), sums.end());
  }
  return out;
}

/// The outputs, laid out like Example::d_out.
inline std::vector<double> reference(const Example& e) {
  std::vector<double> out(e.d_out.size(), untouched);
  for (const Span& s : e.sequences) {
    for (int head = 0; head < e.heads; ++head) {
      const std::vector<double> part =
          e.kind == Kind::gated_delta ? reference_delta(e, s, head) : reference_sums(e, s, head);
      for (int i = 0; i < s.query_count; ++i) {
        std::copy_n(part.begin() + i * e.d_value, e.d_value,
                    out.begin() + (std::int64_t{s.query_begin + i} * e.heads + head) * e.d_value);
      }
    }
  }
  return out;
}

}  // namespace rapt::attention::linear
