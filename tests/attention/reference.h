/// Attention by plain loops in float64, to compare the operator with.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "attention/kernels.h"
#include "attention/terms.h"
#include "attention/testing.h"

namespace rapt::attention {

/// A problem with its inputs. Element (token, head, i) lies at [(token * heads + head) * d + i].
struct Example {
  std::vector<Span> sequences;
  int heads = 1;
  int kv_heads = 1;
  int d_key = 4;
  int d_value = 4;
  double scale = 1;
  bool causal = false;
  Dropout dropout = {};
  Visibility visibility = {};  ///< besides `causal`
  double soft_cap = 0;
  /// Strides of a bias in elements (Bias), when there is one.
  std::vector<double> bias = {};
  Bias bias_strides = {};
  std::vector<double> relative = {};  ///< [buckets, heads]
  RelativeBias relative_options = {};
  std::vector<double> alibi_slopes = {}, sinks = {};  ///< [heads]
  std::vector<double> q = {}, k = {}, v = {}, d_out = {};

  Problem problem() const {
    return {.sequences = sequences,
            .heads = heads,
            .kv_heads = kv_heads,
            .d_key = d_key,
            .d_value = d_value,
            .scale = scale,
            .soft_cap = soft_cap,
            .visibility = causal ? visibility & Visibility::causal() : visibility,
            .dropout = dropout};
  }
  /// What is done to scale * q.k of (sequence, head, query, key).
  double score(double product, std::size_t sequence, int head, std::int32_t query, std::int32_t key) const {
    const Span& s = sequences[sequence];
    double x = scale * product;
    if (soft_cap > 0) x = soft_cap * std::tanh(x / soft_cap);
    const auto number = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    if (!bias.empty()) {
      const Bias& b = bias_strides;
      x += bias[number(static_cast<std::int64_t>(sequence) * b.by_sequence + head * b.by_head + query * b.by_query +
                       key * b.by_key)];
    }
    const std::int64_t position = std::int64_t{query} + s.key_count - s.query_count;
    if (!relative.empty()) {
      const std::int64_t from = relative_options.align == Align::start ? query : position;
      x += relative[number(std::int64_t{relative_bucket(relative_options, key - from)} * heads + head)];
    }
    if (!alibi_slopes.empty()) x -= alibi_slopes[number(head)] * static_cast<double>(std::abs(key - position));
    return x;
  }
  std::int64_t query_tokens() const { return end_of_queries(sequences); }
  std::int64_t key_tokens() const { return end_of_keys(sequences); }
  /// Draws inputs from the standard normal distribution.
  Example& fill(std::uint64_t seed) {
    RandomSequence random(seed);
    q = normal_numbers(random, query_tokens() * heads * d_key);
    k = normal_numbers(random, key_tokens() * kv_heads * d_key);
    v = normal_numbers(random, key_tokens() * kv_heads * d_value);
    d_out = normal_numbers(random, query_tokens() * heads * d_value);
    return *this;
  }
};

/// The operator on an example, in type T. The example must outlive it.
template <typename T>
struct Trial {
  const Kernels& kernels;
  int threads;
  const Example& example;
  Storage<T> q, k, v, d_out, out, dq, dk, dv;
  std::vector<Scalar<T>> log_sum_exp;
  std::vector<Scalar<T>> bias, relative, alibi_slopes, sinks;
  std::vector<Scalar<T>> d_bias, d_relative, d_alibi_slopes, d_sinks;
  Scalar<T> d_scale = 0, d_soft_cap = 0;
  bool wants_scale = false;

  explicit Trial(const Example& e, kernels::Isa isa = kernels::isa(), int thread_count = 2)
      : kernels(kernels_for(isa)),
        threads(thread_count),
        example(e),
        q(e.q, e.heads * e.d_key),
        k(e.k, e.kv_heads * e.d_key),
        v(e.v, e.kv_heads * e.d_value),
        d_out(e.d_out, e.heads * e.d_value),
        out(e.query_tokens(), e.heads * e.d_value, untouched),
        dq(e.query_tokens(), e.heads * e.d_key, untouched),
        dk(e.key_tokens(), e.kv_heads * e.d_key, untouched),
        dv(e.key_tokens(), e.kv_heads * e.d_value, untouched),
        log_sum_exp(static_cast<std::size_t>(e.query_tokens() * e.heads), static_cast<Scalar<T>>(untouched)),
        bias(e.bias.begin(), e.bias.end()),
        relative(e.relative.begin(), e.relative.end()),
        alibi_slopes(e.alibi_slopes.begin(), e.alibi_slopes.end()),
        sinks(e.sinks.begin(), e.sinks.end()),
        d_bias(bias.size(), static_cast<Scalar<T>>(untouched)),
        d_relative(relative.size()),
        d_alibi_slopes(alibi_slopes.size()),
        d_sinks(sinks.size()) {}

  Problem problem() const {
    Problem result = example.problem();
    if (!bias.empty()) {
      result.bias = example.bias_strides;
      result.bias.data = bias.data();
    }
    if (!relative.empty()) {
      result.relative = example.relative_options;
      result.relative.table = relative.data();
    }
    if (!alibi_slopes.empty()) result.alibi_slopes = alibi_slopes.data();
    if (!sinks.empty()) result.sinks = sinks.data();
    return result;
  }

  Inputs inputs() { return {q.rows(), k.rows(), v.rows()}; }
  Outputs outputs() { return {out.rows(), log_sum_exp.data()}; }
  Trial& forward() {
    attention::forward(kernels, problem(), inputs(), outputs(), threads);
    return *this;
  }
  Trial& backward() {
    const auto unless_empty = [](auto& values) -> void* { return values.empty() ? nullptr : values.data(); };
    attention::backward(kernels, problem(), inputs(), outputs(), d_out.rows(),
                        {.q = dq.rows(),
                         .k = dk.rows(),
                         .v = dv.rows(),
                         .bias = unless_empty(d_bias),
                         .relative = unless_empty(d_relative),
                         .alibi_slopes = unless_empty(d_alibi_slopes),
                         .sinks = unless_empty(d_sinks),
                         .scale = wants_scale ? &d_scale : nullptr,
                         .soft_cap = example.soft_cap > 0 ? &d_soft_cap : nullptr},
                        threads);
    return *this;
  }
  std::vector<float> weights(int sequence, int head) {
    const Span& s = example.sequences[static_cast<std::size_t>(sequence)];
    std::vector<float> result(static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
                              static_cast<float>(untouched));
    attention::weights(kernels, problem(), inputs(), log_sum_exp.data(), sequence, head, result, threads);
    return result;
  }
  /// The example with its inputs rounded to T, for a reference of the same inputs.
  Example rounded() const {
    Example result = example;
    result.q = q.values();
    result.k = k.values();
    result.v = v.values();
    result.d_out = d_out.values();
    return result;
  }
};

/// Results of the plain loops, laid out like the inputs.
struct Reference {
  std::vector<double> out, log_sum_exp, dq, dk, dv;
};

/// Whether dropout keeps a weight: the rule that attention.h documents, one weight at a time.
inline bool kept(const Dropout& dropout, std::int64_t token, int head, std::int32_t key) {
  const auto j = static_cast<std::uint32_t>(key);
  const auto words =
      philox(dropout.key, {j / 8, static_cast<std::uint32_t>(token), static_cast<std::uint32_t>(head), 0x6174746eu});
  const std::uint32_t bits = (words[j % 8 / 2] >> (j % 2 * 16)) & 0xffffu;
  return bits >= dropout.threshold();
}

/// The plain loops for one query of one head: weights of all keys of its sequence, without dropout.
inline std::vector<double> reference_weights(const Example& e, const Span& s, std::int32_t query, int head,
                                             double* log_sum_exp) {
  const int kv_head = head / (e.heads / e.kv_heads);
  std::vector<double> weights(static_cast<std::size_t>(s.key_count), 0.0);
  const Visibility visible = e.problem().visibility;
  const double* q = e.q.data() + (std::int64_t{s.query_begin + query} * e.heads + head) * e.d_key;
  const auto sequence = static_cast<std::size_t>(&s - e.sequences.data());
  const double nothing = -std::numeric_limits<double>::infinity();
  double maximum = e.sinks.empty() ? nothing : e.sinks[static_cast<std::size_t>(head)];
  for (std::int32_t j = 0; j < s.key_count; ++j) {
    double& w = weights[static_cast<std::size_t>(j)];
    w = nothing;
    if ((visible.bits(s, query, j) & 1) == 0) continue;
    const double* k = e.k.data() + (std::int64_t{s.key_begin + j} * e.kv_heads + kv_head) * e.d_key;
    double product = 0;
    for (int i = 0; i < e.d_key; ++i) product += q[i] * k[i];
    w = e.score(product, sequence, head, query, j);
    maximum = std::max(maximum, w);
  }
  double sum = e.sinks.empty() ? 0 : std::exp(e.sinks[static_cast<std::size_t>(head)] - maximum);
  for (double& w : weights) {
    w = w == nothing ? 0 : std::exp(w - maximum);
    sum += w;
  }
  if (sum > 0) {
    for (double& w : weights) w /= sum;
  }
  *log_sum_exp = sum > 0 ? maximum + std::log(sum) : nothing;
  return weights;
}

/// Forward and backward pass by plain loops.
inline Reference reference(const Example& e) {
  Reference r{.out = std::vector<double>(e.d_out.size(), untouched),
              .log_sum_exp = std::vector<double>(static_cast<std::size_t>(e.query_tokens() * e.heads), untouched),
              .dq = std::vector<double>(e.q.size()),
              .dk = std::vector<double>(e.k.size()),
              .dv = std::vector<double>(e.v.size())};
  for (const Span& s : e.sequences) {
    for (std::int32_t query = 0; query < s.query_count; ++query) {
      for (int head = 0; head < e.heads; ++head) {
        const int kv_head = head / (e.heads / e.kv_heads);
        const std::int64_t row = std::int64_t{s.query_begin + query} * e.heads + head;
        const std::vector<double> p =
            reference_weights(e, s, query, head, &r.log_sum_exp[static_cast<std::size_t>(row)]);
        double* out = r.out.data() + row * e.d_value;
        const double* d_out = e.d_out.data() + row * e.d_value;
        std::fill(out, out + e.d_value, 0.0);
        std::vector<double> mask(p.size()), d_p(p.size());
        double delta = 0;
        for (std::int32_t j = 0; j < s.key_count; ++j) {
          const auto at = static_cast<std::size_t>(j);
          const bool keeps = !e.dropout.active() || kept(e.dropout, s.query_begin + query, head, j);
          mask[at] = keeps ? 1 / e.dropout.kept() : 0.0;
          const std::int64_t key_row = std::int64_t{s.key_begin + j} * e.kv_heads + kv_head;
          for (int i = 0; i < e.d_value; ++i) {
            const double v = e.v[static_cast<std::size_t>(key_row * e.d_value + i)];
            out[i] += p[at] * mask[at] * v;
            r.dv[static_cast<std::size_t>(key_row * e.d_value + i)] += p[at] * mask[at] * d_out[i];
            d_p[at] += mask[at] * d_out[i] * v;
          }
          delta += p[at] * d_p[at];
        }
        for (std::int32_t j = 0; j < s.key_count; ++j) {
          const auto at = static_cast<std::size_t>(j);
          const double d_score = e.scale * p[at] * (d_p[at] - delta);
          const std::int64_t key_row = std::int64_t{s.key_begin + j} * e.kv_heads + kv_head;
          for (int i = 0; i < e.d_key; ++i) {
            const auto q_at = static_cast<std::size_t>(row * e.d_key + i);
            const auto k_at = static_cast<std::size_t>(key_row * e.d_key + i);
            r.dq[q_at] += d_score * e.k[k_at];
            r.dk[k_at] += d_score * e.q[q_at];
          }
        }
      }
    }
  }
  return r;
}

}  // namespace rapt::attention
