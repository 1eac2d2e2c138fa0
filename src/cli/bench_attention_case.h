/// What `rapt bench attention` times: options, shapes and operands.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/context.h"
#include "kernels/convert.h"
#include "rapt/attention.h"

namespace rapt::bench {

struct AttentionOptions {
  int threads = 0;
  bool json = false;
  double seconds = 1;  ///< for each figure
  std::vector<std::string> what{"forward", "backward", "decode", "window", "ragged", "sweep"};
  std::vector<std::string> dtypes{"f32", "bf16"};
  std::vector<std::string> visibilities{"full", "causal"};
  std::vector<int> lengths{1024, 4096, 16384};
  std::vector<int> widths{64, 128};
  int heads = 0;  ///< 0: as many as `tokens` take
  int tokens = 16384;

  int heads_for(int length) const { return heads > 0 ? heads : std::max(1, tokens / length); }
};

/// What is timed: sequences of queries over keys, all alike or not.
struct Case {
  std::string direction;
  DType dtype = DType::f32;
  std::vector<attention::Span> sequences = {};
  int heads = 1;
  int kv_heads = 1;
  int d_head = 64;
  attention::Visibility visibility = {};

  std::int64_t query_tokens() const {
    std::int64_t count = 0;
    for (const auto& s : sequences) count = std::max<std::int64_t>(count, s.query_begin + s.query_count);
    return count;
  }
  std::int64_t key_tokens() const {
    std::int64_t count = 0;
    for (const auto& s : sequences) count = std::max<std::int64_t>(count, s.key_begin + s.key_count);
    return count;
  }
  std::int64_t longest() const {
    std::int64_t count = 0;
    for (const auto& s : sequences) count = std::max<std::int64_t>(count, s.key_count);
    return count;
  }
  bool causal() const { return visibility.is_causal(); }
  /// As the field counts: 4 * heads * queries * keys * d_head, halved when causal, 2.5 times for backward.
  double flops() const {
    double pairs = 0;
    for (const auto& s : sequences) pairs += static_cast<double>(s.query_count) * s.key_count;
    return 4.0 * heads * pairs * d_head * (causal() ? 0.5 : 1.0) * (direction == "backward" ? 2.5 : 1.0);
  }
  /// Bytes of the keys and values.
  double bytes() const {
    return 2.0 * static_cast<double>(key_tokens()) * kv_heads * d_head * static_cast<double>(size_of(dtype));
  }
};

inline std::vector<attention::Span> square(int length) {
  return {{0, length, 0, length}};
}

/// `scale` times standard normal numbers, the same for the same shape.
inline Tensor random_values(const Context& ctx, std::int64_t rows, std::int64_t width, DType dtype, std::uint64_t seed,
                            float scale = 1) {
  const Tensor values = Tensor::empty({rows, width}, DType::f32);
  // A table of normal numbers is enough: drawing each one would take longer than what is measured.
  std::vector<float> table(8191);
  RandomSequence random(seed);
  for (float& x : table) x = scale * static_cast<float>(random.normal());
  float* const data = values.write<float>();
  for (std::int64_t i = 0; i < values.count(); ++i) data[i] = table[static_cast<std::size_t>(i) % table.size()];
  Tensor result = Tensor::empty({rows, width}, dtype);
  kernels::convert(ctx, values, result);
  return result;
}

inline attention::Rows rows_of(const Tensor& x) {
  return {x.dtype(), const_cast<void*>(x.raw()), x.dim(1)};
}

/// The operands of a case, and its calls. Context and case must outlive it.
class Operands {
 public:
  Operands(const Context& ctx, const Case& c) : ctx_(ctx), case_(c) {
    const std::int64_t width = std::int64_t{c.heads} * c.d_head;
    const std::int64_t kv_width = std::int64_t{c.kv_heads} * c.d_head;
    q_ = random_values(ctx, c.query_tokens(), width, c.dtype, 1);
    k_ = random_values(ctx, c.key_tokens(), kv_width, c.dtype, 2);
    v_ = random_values(ctx, c.key_tokens(), kv_width, c.dtype, 3);
    out_ = Tensor::empty(q_.shape(), c.dtype);
    log_sum_exp_ = Tensor::empty({c.query_tokens(), c.heads}, DType::f32);
    if (c.direction != "backward") return;
    d_out_ = random_values(ctx, c.query_tokens(), width, c.dtype, 4);
    dq_ = Tensor::empty(q_.shape(), c.dtype);
    dk_ = Tensor::empty(k_.shape(), c.dtype);
    dv_ = Tensor::empty(v_.shape(), c.dtype);
  }

  void forward(const attention::Statistics* statistics = nullptr) const {
    attention::forward(problem(), inputs(), outputs(statistics), ctx_.threads());
  }
  void backward() const {
    attention::backward(problem(), inputs(), outputs(), rows_of(d_out_),
                        {.q = rows_of(dq_), .k = rows_of(dk_), .v = rows_of(dv_)}, ctx_.threads());
  }
  const Tensor& q() const { return q_; }
  const Tensor& k() const { return k_; }
  const Tensor& v() const { return v_; }

 private:
  attention::Problem problem() const {
    return {.sequences = case_.sequences,
            .heads = case_.heads,
            .kv_heads = case_.kv_heads,
            .d_key = case_.d_head,
            .d_value = case_.d_head,
            .scale = 1 / std::sqrt(static_cast<double>(case_.d_head)),
            .visibility = case_.visibility};
  }
  attention::Inputs inputs() const { return {rows_of(q_), rows_of(k_), rows_of(v_)}; }
  attention::Outputs outputs(const attention::Statistics* statistics = nullptr) const {
    return {rows_of(out_), log_sum_exp_.raw_write(), statistics};
  }

  const Context& ctx_;
  const Case& case_;
  Tensor q_, k_, v_, out_, log_sum_exp_, d_out_, dq_, dk_, dv_;
};

}  // namespace rapt::bench
