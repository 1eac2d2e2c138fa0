#include "cli/bench_attention.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/output.h"
#include "core/context.h"
#include "kernels/ceiling.h"
#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "kernels/softmax.h"
#include "rapt/attention.h"

namespace rapt {
namespace {

using attention::Visibility;

struct Options {
  int threads = 0;
  bool json = false;
  double seconds = 1;  ///< for each figure
  std::vector<std::string> what{"forward", "backward", "decode", "window", "ragged", "sweep"};
  std::vector<std::string> dtypes{"f32", "bf16"};
  std::vector<int> lengths{1024, 4096, 16384};
  std::vector<int> widths{64, 128};
  int tokens = 16384;  ///< of a batch: as many heads as it takes
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The median of repeated runs that together last about `seconds`, after one that does not count.
template <typename Work>
double median_seconds(double seconds, Work&& work) {
  work();
  std::vector<double> runs;
  const auto start = std::chrono::steady_clock::now();
  do {
    const auto begin = std::chrono::steady_clock::now();
    work();
    runs.push_back(seconds_since(begin));
  } while (runs.size() < 3 || seconds_since(start) < seconds);
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end());
  return *middle;
}

/// What is timed: sequences of queries over keys, all alike or not.
struct Case {
  std::string direction;
  DType dtype = DType::f32;
  std::vector<attention::Span> sequences = {};
  int heads = 1;
  int kv_heads = 1;
  int d_head = 64;
  Visibility visibility = {};

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

std::vector<attention::Span> square(int length) {
  return {{0, length, 0, length}};
}

/// Standard normal numbers, the same for the same shape.
Tensor random_values(const Context& ctx, std::int64_t rows, std::int64_t width, DType dtype, std::uint64_t seed) {
  const Tensor values = Tensor::empty({rows, width}, DType::f32);
  // A table of normal numbers is enough: drawing each one would take longer than what is measured.
  std::vector<float> table(8191);
  RandomSequence random(seed);
  for (float& x : table) x = static_cast<float>(random.normal());
  float* const data = values.write<float>();
  for (std::int64_t i = 0; i < values.count(); ++i) data[i] = table[static_cast<std::size_t>(i) % table.size()];
  const Tensor result = Tensor::empty({rows, width}, dtype);
  kernels::convert(ctx, values, result);
  return result;
}

attention::Rows rows_of(const Tensor& x) {
  return {x.dtype(), const_cast<void*>(x.raw()), x.dim(1)};
}

/// The operands of a case, and its calls.
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

  void forward() const { attention::forward(problem(), inputs(), outputs(), ctx_.threads()); }
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
  attention::Outputs outputs() const { return {rows_of(out_), log_sum_exp_.raw_write()}; }

  const Context& ctx_;
  const Case& case_;
  Tensor q_, k_, v_, out_, log_sum_exp_, d_out_, dq_, dk_, dv_;
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), ctx_({.threads = options.threads}) {}

  void run() {
    bandwidth_ = kernels::memory_bandwidth(ctx_) / 1e9;
    say({{"what", "memory"}, {"threads", ctx_.threads()}, {"gbps", bandwidth_}},
        fmt::format("{} threads; reading memory {:.1f} GB/s", ctx_.threads(), bandwidth_));
    for (const std::string& name : options_.dtypes) {
      const DType dtype = name == "bf16" ? DType::bf16 : DType::f32;
      ceiling_ = kernels::gemm_rate(ctx_, dtype, 0.5) / 1e9;
      say({{"what", "gemm"}, {"dtype", name}, {"threads", ctx_.threads()}, {"gflops", ceiling_}},
          fmt::format("{}: matrix products {:.1f} GFLOP/s", name, ceiling_));
      if (wanted("forward")) squares("forward", dtype);
      if (wanted("backward")) squares("backward", dtype);
      if (wanted("decode")) decode(dtype);
      if (wanted("window")) window(dtype);
      if (wanted("ragged")) ragged(dtype);
      if (wanted("sweep")) sweep(dtype);
    }
    cli::flush();
  }

 private:
  bool wanted(const std::string& what) const { return std::ranges::find(options_.what, what) != options_.what.end(); }

  void say(const nlohmann::ordered_json& row, const std::string& text) const {
    cli::print(options_.json ? row.dump() + "\n" : text + "\n");
    cli::flush();
  }

  double time(const Case& c) const {
    const Operands operands(ctx_, c);
    if (c.direction != "backward") return median_seconds(options_.seconds, [&] { operands.forward(); });
    operands.forward();
    return median_seconds(options_.seconds, [&] { operands.backward(); });
  }

  nlohmann::ordered_json row_of(const Case& c, double seconds) const {
    return {{"what", "attention"},
            {"direction", c.direction},
            {"dtype", name_of(c.dtype)},
            {"length", c.longest()},
            {"sequences", c.sequences.size()},
            {"heads", c.heads},
            {"kv_heads", c.kv_heads},
            {"d_head", c.d_head},
            {"causal", c.causal()},
            {"visibility", c.visibility.text()},
            {"threads", ctx_.threads()},
            {"seconds", seconds}};
  }

  std::string text_of(const Case& c, double seconds) const {
    return fmt::format("{:<8} {:<4} {:>6} keys {:>2} heads x {:<3} {:<14} {:9.3f} ms", c.direction, name_of(c.dtype),
                       c.longest(), c.heads, c.d_head, c.visibility.text(), 1e3 * seconds);
  }

  /// Prints a case's rate of operations.
  double report_flops(const Case& c) const {
    const double seconds = time(c);
    const double rate = c.flops() / seconds / 1e9;
    nlohmann::ordered_json row = row_of(c, seconds);
    row["gflops"] = rate;
    row["ceiling_gflops"] = ceiling_;
    row["percent_of_ceiling"] = 100 * rate / ceiling_;
    say(row, fmt::format("{}  {:6.1f} GFLOP/s, {:5.1f} % of {:.1f}", text_of(c, seconds), rate, 100 * rate / ceiling_,
                         ceiling_));
    return seconds;
  }

  void squares(const std::string& direction, DType dtype) const {
    for (const int d_head : options_.widths) {
      for (const int length : options_.lengths) {
        for (const bool causal : {false, true}) {
          report_flops({.direction = direction,
                        .dtype = dtype,
                        .sequences = square(length),
                        .heads = std::max(1, options_.tokens / length),
                        .kv_heads = std::max(1, options_.tokens / length),
                        .d_head = d_head,
                        .visibility = causal ? Visibility::causal() : Visibility::full()});
        }
      }
    }
    for (const int length : options_.lengths) {
      report_flops({.direction = direction, .dtype = dtype, .sequences = square(length), .d_head = options_.widths[0]});
    }
  }

  /// One query over a long cache, four query heads to a key-value head.
  void decode(DType dtype) const {
    for (const int length : {8192, 32768, 131072}) {
      const Case c{.direction = "decode",
                   .dtype = dtype,
                   .sequences = {{0, 1, 0, length}},
                   .heads = 32,
                   .kv_heads = 8,
                   .d_head = 128};
      // Where memory lies decides how fast it is read, so the ceiling is the rate of reading these very keys and
      // values.
      const Operands operands(ctx_, c);
      const Tensor memory[] = {operands.k(), operands.v()};
      const double before = kernels::reading_rate(ctx_, memory, options_.seconds / 2);
      const double seconds = median_seconds(options_.seconds, [&] { operands.forward(); });
      const double after = kernels::reading_rate(ctx_, memory, options_.seconds / 2);
      const double bandwidth = std::max(before, after) / 1e9;
      const double rate = c.bytes() / seconds / 1e9;
      nlohmann::ordered_json row = row_of(c, seconds);
      row["gbps"] = rate;
      row["gflops"] = c.flops() / seconds / 1e9;
      row["ceiling_gbps"] = bandwidth;
      row["percent_of_ceiling"] = 100 * rate / bandwidth;
      say(row, fmt::format("{}  {:6.1f} GB/s, {:5.1f} % of {:.1f}", text_of(c, seconds), rate, 100 * rate / bandwidth,
                           bandwidth));
    }
  }

  void window(DType dtype) const {
    constexpr int length = 16384;
    const Case full{.direction = "forward", .dtype = dtype, .sequences = square(length)};
    Case narrow = full;
    narrow.visibility = Visibility::window(511, 0);
    const double full_seconds = report_flops(full);
    const double seconds = time(narrow);
    nlohmann::ordered_json row = row_of(narrow, seconds);
    row["times_faster_than_full"] = full_seconds / seconds;
    say(row, fmt::format("{}  {:.1f} times faster than full", text_of(narrow, seconds), full_seconds / seconds));
  }

  /// A batch of sentences.
  void ragged(DType dtype) const {
    std::vector<attention::Span> sequences;
    RandomSequence random(1);
    std::int32_t begin = 0;
    for (int i = 0; i < 400; ++i) {
      const auto length = static_cast<std::int32_t>(5 + random.below(56));
      sequences.push_back({begin, length, begin, length});
      begin += length;
    }
    for (const std::string direction : {"forward", "backward"}) {
      for (const bool causal : {false, true}) {
        report_flops({.direction = direction,
                      .dtype = dtype,
                      .sequences = sequences,
                      .heads = 8,
                      .kv_heads = 8,
                      .d_head = 64,
                      .visibility = causal ? Visibility::causal() : Visibility::full()});
      }
    }
  }

  /// Scores by a matrix product, softmax, and a matrix product with the values.
  double unfused_seconds(const Case& c, double budget) const {
    const Operands operands(ctx_, c);
    const Tensor scores = Tensor::empty({c.query_tokens(), c.key_tokens()}, DType::f32);
    const Tensor weights = Tensor::empty(scores.shape(), c.dtype);
    const Tensor out = Tensor::empty(operands.q().shape(), c.dtype);
    const auto as_f32 = [&](const Tensor& x) {
      if (x.dtype() == DType::f32) return x;
      Tensor result = Tensor::empty(x.shape(), DType::f32);
      kernels::convert(ctx_, x, result);
      return result;
    };
    kernels::GemmWeight keys, values;
    return median_seconds(budget, [&] {
      keys.set(as_f32(operands.k()));
      values.set(as_f32(operands.v()));
      kernels::gemm(ctx_, operands.q(), keys, {}, scores);
      kernels::softmax_rows(ctx_, scores, 1 / std::sqrt(static_cast<double>(c.d_head)));
      if (c.dtype != DType::f32) kernels::convert(ctx_, scores, weights);
      kernels::gemm_input_gradient(ctx_, c.dtype == DType::f32 ? scores : weights, values, false, out);
    });
  }

  /// The operator against the unfused path over lengths and widths, one head.
  void sweep(DType dtype) const {
    double worst = 0;
    Case worst_case;
    for (const int d_head : {16, 32, 64, 80, 128, 256}) {
      for (const int length : {1, 2, 4, 8, 16, 31, 64, 100, 203, 512, 1023, 2048, 4096, 8192, 16384}) {
        const Case c{.direction = "forward", .dtype = dtype, .sequences = square(length), .d_head = d_head};
        const double budget = options_.seconds / 20;
        const Operands operands(ctx_, c);
        const double fused = median_seconds(budget, [&] { operands.forward(); });
        const double ratio = fused / unfused_seconds(c, budget);
        nlohmann::ordered_json row = row_of(c, fused);
        row["times_unfused"] = ratio;
        if (options_.json) say(row, "");
        if (ratio > worst) {
          worst = ratio;
          worst_case = c;
        }
      }
    }
    say({{"what", "sweep"},
         {"dtype", name_of(dtype)},
         {"worst_ratio_to_unfused", worst},
         {"length", worst_case.longest()},
         {"d_head", worst_case.d_head}},
        fmt::format("sweep    {:<4} at worst {:.2f} of the unfused time, at {} keys x {}", name_of(dtype), worst,
                    worst_case.longest(), worst_case.d_head));
  }

  const Options& options_;
  Context ctx_;
  double bandwidth_ = 0;
  double ceiling_ = 0;
};

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand("attention",
                                           "the attention operator; FLOPs are 4 * heads * queries * keys * d_head, "
                                           "half when causal, 2.5 times for backward");
  command->add_option("--threads", options->threads, "0: as many as the process may use")->check(CLI::Range(0, 1024));
  command->add_flag("--json", options->json, "one JSON object a line");
  command->add_option("--seconds", options->seconds, "for each figure; the median of the runs counts")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1000.0));
  command->add_option("--what", options->what, "what to time")
      ->capture_default_str()
      ->check(CLI::IsMember({"forward", "backward", "decode", "window", "ragged", "sweep"}));
  command->add_option("--dtype", options->dtypes, "types of the operands")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--length", options->lengths, "queries and keys of forward and backward")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--d-head", options->widths, "width of the heads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->callback([options] { Bench(*options).run(); });
}

}  // namespace rapt
