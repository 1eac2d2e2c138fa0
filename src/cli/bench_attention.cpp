#include "cli/bench_attention.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bench_attention_case.h"
#include "cli/bench_linear_attention.h"
#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "kernels/ceiling.h"
#include "kernels/gemm.h"
#include "kernels/softmax.h"

namespace rapt::bench {
namespace {

using attention::Visibility;

class Bench {
 public:
  explicit Bench(const AttentionOptions& options) : options_(options), ctx_({.threads = options.threads}) {}

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
      if (wanted("statistics")) statistics(dtype);
      if (wanted("linear")) linear_attention(ctx_, dtype, options_);
    }
  }

 private:
  bool wanted(const std::string& what) const { return std::ranges::find(options_.what, what) != options_.what.end(); }

  void say(const nlohmann::ordered_json& row, const std::string& text) const { report(row, options_.json, text); }

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
            {"query_tokens", c.query_tokens()},
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
        for (const Visibility& visibility : visibilities()) {
          report_flops({.direction = direction,
                        .dtype = dtype,
                        .sequences = square(length),
                        .heads = options_.heads_for(length),
                        .kv_heads = options_.heads_for(length),
                        .d_head = d_head,
                        .visibility = visibility});
        }
      }
    }
    if (options_.heads > 0) return;
    for (const int length : options_.lengths) {
      report_flops({.direction = direction, .dtype = dtype, .sequences = square(length), .d_head = options_.widths[0]});
    }
  }

  /// One query a sequence over long caches, four query heads to a key-value head, as many sequences as it takes that no
  /// cache of the processor holds them.
  void decode(DType dtype) const {
    constexpr std::int32_t keys = 131072;
    for (const std::int32_t length : {8192, 32768, keys}) {
      std::vector<attention::Span> sequences;
      for (std::int32_t i = 0; i < keys / length; ++i) sequences.push_back({i, 1, i * length, length});
      const Case c{
          .direction = "decode", .dtype = dtype, .sequences = sequences, .heads = 32, .kv_heads = 8, .d_head = 128};
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

  /// A batch of sentences: 400 of 5 to 60 tokens. bench/peers/attention_race.py makes the same.
  void ragged(DType dtype) const {
    std::vector<attention::Span> sequences;
    std::int32_t begin = 0;
    for (std::int32_t i = 0; i < 400; ++i) {
      const std::int32_t length = 5 + i * 37 % 56;
      sequences.push_back({begin, length, begin, length});
      begin += length;
    }
    for (const std::string direction : {"forward", "backward"}) {
      for (const Visibility& visibility : visibilities()) {
        report_flops({.direction = direction,
                      .dtype = dtype,
                      .sequences = sequences,
                      .heads = 8,
                      .kv_heads = 8,
                      .d_head = 64,
                      .visibility = visibility});
      }
    }
  }

  /// What statistics cost on top of the forward pass.
  void statistics(DType dtype) const {
    for (const int d_head : options_.widths) {
      for (const int length : options_.lengths) {
        for (const Visibility& visibility : visibilities()) {
          report_statistics({.direction = "forward",
                             .dtype = dtype,
                             .sequences = square(length),
                             .heads = options_.heads_for(length),
                             .kv_heads = options_.heads_for(length),
                             .d_head = d_head,
                             .visibility = visibility});
        }
      }
    }
  }

  void report_statistics(const Case& c) const {
    constexpr int top = 4, bins = 64;
    const auto rows = static_cast<std::size_t>(c.query_tokens() * c.heads);
    const auto heads = static_cast<std::size_t>(c.heads);
    std::vector<float> maximum(rows), entropy(rows), top_weights(rows * top);
    std::vector<std::int32_t> top_keys(rows * top);
    std::vector<float> key_mass(static_cast<std::size_t>(c.key_tokens()) * heads);
    std::vector<float> pooled(c.sequences.size() * heads * bins * bins);
    const attention::Statistics of_rows{.maximum = maximum.data(),
                                        .entropy = entropy.data(),
                                        .top = top,
                                        .top_keys = top_keys.data(),
                                        .top_weights = top_weights.data()};
    const attention::Statistics of_tiles{.key_mass = key_mass.data(), .bins = bins, .pooled = pooled.data()};
    const Operands operands(ctx_, c);
    const std::vector<double> seconds = median_seconds(
        options_.seconds,
        {[&] { operands.forward(); }, [&] { operands.forward(&of_rows); }, [&] { operands.forward(&of_tiles); }});
    const auto percent = [&](std::size_t i) { return 100 * (seconds[i] / seconds[0] - 1); };
    nlohmann::ordered_json row = row_of(c, seconds[0]);
    row["what"] = "statistics";
    row["seconds_with_row_statistics"] = seconds[1];
    row["seconds_with_key_mass_and_map"] = seconds[2];
    row["percent_for_row_statistics"] = percent(1);
    row["percent_for_key_mass_and_map"] = percent(2);
    say(row,
        fmt::format("{}  rows' maximum, entropy and 4 heaviest keys {:+.1f} %, mass of keys and 64x64 map {:+.1f} %",
                    text_of(c, seconds[0]), percent(1), percent(2)));
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

  std::vector<Visibility> visibilities() const {
    std::vector<Visibility> result;
    for (const std::string& name : options_.visibilities) {
      result.push_back(name == "causal" ? Visibility::causal() : Visibility::full());
    }
    return result;
  }

  const AttentionOptions& options_;
  Context ctx_;
  double bandwidth_ = 0;
  double ceiling_ = 0;
};

}  // namespace
}  // namespace rapt::bench

namespace rapt {

void add_bench_attention(CLI::App& bench) {
  using bench::AttentionOptions;
  auto options = std::make_shared<AttentionOptions>();
  CLI::App* command = bench.add_subcommand("attention",
                                           "the attention operator; FLOPs are 4 * heads * queries * keys * d_head, "
                                           "half when causal, 2.5 times for backward");
  command->add_option("--threads", options->threads, "0: as many as the process may use")->check(cli::between(0, 1024));
  command->add_flag("--json", options->json, "one JSON object a line");
  command->add_option("--seconds", options->seconds, "for each figure; the median of the runs counts")
      ->capture_default_str()
      ->check(cli::between(0.0, 1000.0));
  command->add_option("--what", options->what, "what to time")
      ->capture_default_str()
      ->check(cli::word({"forward", "backward", "decode", "window", "ragged", "sweep", "statistics", "linear"}));
  command->add_option("--dtype", options->dtypes, "types of the operands")
      ->capture_default_str()
      ->check(cli::word({"f32", "bf16"}));
  command->add_option("--length", options->lengths, "queries and keys of forward, backward and statistics")
      ->capture_default_str()
      ->check(cli::between(1, 1 << 20));
  command->add_option("--visibility", options->visibilities, "of forward, backward, ragged and statistics")
      ->capture_default_str()
      ->check(cli::word({"full", "causal"}));
  command->add_option("--heads", options->heads, "0: as many as 16384 tokens take, at least 1; 8 for linear")
      ->check(cli::between(0, 1024));
  command->add_option("--d-head", options->widths, "width of the heads")
      ->capture_default_str()
      ->check(cli::between(1, 1024));
  command->callback([options] { bench::Bench(*options).run(); });
}

}  // namespace rapt
