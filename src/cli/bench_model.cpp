#include "cli/bench_model.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "core/error.h"
#include "decoding/model_stepper.h"
#include "families/checkpoint.h"
#include "kernels/ceiling.h"
#include "kernels/gemm.h"
#include "text/tokenizer.h"

namespace rapt {
namespace {

struct BenchModelCommand {
  std::string model;
  cli::ComputeOptions compute{.precision = Precision::bf16};
  std::int32_t prompt = 512;
  std::int32_t tokens = 128;
  std::int32_t sequences = 64;
  std::int32_t length = 24;
  bool json = false;
};

constexpr double timing_seconds = 2;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The most memory this process has held, mapped files included; 0 where the system does not say.
double peak_bytes() {
  std::ifstream status("/proc/self/status");
  double peak = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) peak = 1024 * std::stod(line.substr(6));
  }
  return peak;
}

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab) {
  RandomSequence random(1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab)));
  return ids;
}

/// Bytes of the matrices that every token is multiplied by, as they are packed.
double matrix_bytes(const Context& ctx, const Transformer& model) {
  std::int64_t bytes = 0;
  for (const WeightPtr& weight : distinct_weights(model.parameters())) {
    const bool looked_up_only = weight->is_table() && !model.config().tied_output;
    if (weight->shape().rank() != 2 || looked_up_only) continue;
    const auto element = static_cast<std::int64_t>(size_of(weight->matrix().packed_type(ctx.compute)));
    bytes += weight->shape().count() * element;
  }
  return static_cast<double>(bytes);
}

class ModelBench {
 public:
  ModelBench(const BenchModelCommand& options)
      : options_(options),
        ctx_({.threads = options.compute.threads,
              .compute = options.compute.precision == Precision::bf16 ? DType::bf16 : DType::f32}) {}

  void run() {
    const auto begin = std::chrono::steady_clock::now();
    model_ = map_model(options_.model);
    const auto tokenizer = load_tokenizer(options_.model);
    require(!model_->config().encoder_decoder(), "{}: the benchmark is for models of one stack", options_.model);
    const RaggedTokens first = ragged(tokenizer->encode("The first words of a text"));
    if (model_->config().decoder_only()) {
      decoding::ModelStepper(ctx_, *model_, {.capacity = 64}).step(ctx_, first);
    } else {
      model_->encode(ctx_, first);
    }
    report_start(seconds_since(begin));
    if (model_->config().decoder_only()) {
      const double step = decode();
      const double peak = peak_bytes();  // before the ceilings, which take more
      gemm_ceiling_ = kernels::gemm_rate(ctx_, ctx_.compute, 0.5);
      prompt();
      report_decode(step);
      report_memory(peak);
    } else {
      gemm_ceiling_ = kernels::gemm_rate(ctx_, ctx_.compute, 0.5);
      encode();
    }
  }

 private:
  static RaggedTokens ragged(std::vector<std::int32_t> ids) {
    const std::vector<std::int32_t> lengths{static_cast<std::int32_t>(ids.size())};
    return {std::move(ids), Sequences::of_lengths(lengths)};
  }

  nlohmann::ordered_json row(const char* what, double seconds) const {
    return {{"what", what},
            {"model", options_.model},
            {"dtype", name_of(ctx_.compute)},
            {"threads", ctx_.threads()},
            {"seconds", seconds}};
  }

  void report_start(double seconds) const {
    bench::report(row("start", seconds), options_.json,
                  fmt::format("{:<8} {:8.1f} ms from opening the model to its first logits", "start", 1e3 * seconds));
  }

  /// Work whose time goes into matrix products; the rate counts nothing else.
  void report_products(const char* what, std::int64_t tokens, const std::function<void()>& work) const {
    const std::uint64_t before = kernels::gemm_flops();
    work();
    const auto flops = static_cast<double>(kernels::gemm_flops() - before);
    const double seconds = bench::median_seconds(timing_seconds, work);
    auto figures = row(what, seconds);
    figures["tokens"] = tokens;
    figures["tokens_per_second"] = static_cast<double>(tokens) / seconds;
    figures["gflops"] = flops / seconds / 1e9;
    figures["ceiling_gflops"] = gemm_ceiling_ / 1e9;
    figures["percent_of_ceiling"] = 100 * flops / seconds / gemm_ceiling_;
    bench::report(figures, options_.json,
                  fmt::format("{:<8} {:8.1f} ms for {} tokens, {:.0f} tokens/s, {:.1f} GFLOP/s, {:.1f} % of {:.1f}",
                              what, 1e3 * seconds, tokens, static_cast<double>(tokens) / seconds, flops / seconds / 1e9,
                              100 * flops / seconds / gemm_ceiling_, gemm_ceiling_ / 1e9));
  }

  void prompt() {
    const RaggedTokens tokens = ragged(random_ids(options_.prompt, model_->config().vocab));
    report_products("prompt", options_.prompt, [&] {
      decoding::ModelStepper(ctx_, *model_, {.capacity = options_.prompt + 1}).step(ctx_, tokens);
    });
  }

  /// The median seconds of a token.
  double decode() {
    decoding::ModelStepper stepper(ctx_, *model_, {.capacity = options_.prompt + options_.tokens});
    stepper.step(ctx_, ragged(random_ids(options_.prompt, model_->config().vocab)));
    const RaggedTokens token = ragged({1});
    std::vector<double> runs;
    for (std::int32_t i = 0; i < options_.tokens; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      stepper.step(ctx_, token);
      runs.push_back(seconds_since(begin));
    }
    return bench::median(runs);
  }

  /// Keys and values of so many tokens.
  double cache_bytes(std::int32_t tokens) const {
    return static_cast<double>(model_->cache_size().of_token) * static_cast<double>(size_of(ctx_.compute)) * tokens;
  }

  void report_decode(double seconds) const {
    const double bytes = matrix_bytes(ctx_, *model_) + cache_bytes(options_.prompt + options_.tokens / 2);
    const double bandwidth = kernels::memory_bandwidth(ctx_);
    auto figures = row("decode", seconds);
    figures["context"] = options_.prompt;
    figures["tokens_per_second"] = 1 / seconds;
    figures["bytes_per_token"] = bytes;
    figures["gbps"] = bytes / seconds / 1e9;
    figures["ceiling_gbps"] = bandwidth / 1e9;
    figures["percent_of_ceiling"] = 100 * bytes / seconds / bandwidth;
    bench::report(figures, options_.json,
                  fmt::format("{:<8} {:8.2f} ms a token after {}, {:.1f} tokens/s, {:.1f} MB a token, {:.1f} GB/s, "
                              "{:.1f} % of {:.1f}",
                              "decode", 1e3 * seconds, options_.prompt, 1 / seconds, bytes / 1e6, bytes / seconds / 1e9,
                              100 * bytes / seconds / bandwidth, bandwidth / 1e9));
  }

  void encode() {
    std::vector<std::int32_t> ids = random_ids(options_.sequences * options_.length, model_->config().vocab);
    const std::vector<std::int32_t> lengths(static_cast<std::size_t>(options_.sequences), options_.length);
    const RaggedTokens batch{std::move(ids), Sequences::of_lengths(lengths)};
    report_products("encode", static_cast<std::int64_t>(batch.ids.size()), [&] { model_->encode(ctx_, batch); });
  }

  void report_memory(double peak) const {
    const double needed = matrix_bytes(ctx_, *model_) + cache_bytes(options_.prompt + options_.tokens);
    auto figures = row("memory", 0);
    figures["peak_bytes"] = peak;
    figures["weights_and_cache_bytes"] = needed;
    bench::report(figures, options_.json,
                  fmt::format("{:<8} {:8.1f} MB at most, {:.2f} times weights and cache ({:.1f} MB)", "memory",
                              peak / 1e6, peak / needed, needed / 1e6));
  }

  const BenchModelCommand& options_;
  Context ctx_;
  std::unique_ptr<Transformer> model_;
  double gemm_ceiling_ = 0;
};

}  // namespace

void add_bench_model(CLI::App& bench) {
  auto options = std::make_shared<BenchModelCommand>();
  CLI::App* command = bench.add_subcommand("model", "one model: its start, prompts, decoding (or encoding), memory");
  cli::add_model_option(*command, options->model)->required();
  command->add_option("--prompt-tokens", options->prompt, "of the prompt, random")
      ->capture_default_str()
      ->check(cli::between(1, 1 << 20));
  command->add_option("--tokens", options->tokens, "to write after it; the median of their times counts")
      ->capture_default_str()
      ->check(cli::between(1, 1 << 20));
  command->add_option("--sequences", options->sequences, "of a batch to encode")
      ->capture_default_str()
      ->check(cli::between(1, 100000));
  command->add_option("--length", options->length, "tokens of each of them")
      ->capture_default_str()
      ->check(cli::between(1, 100000));
  cli::add_compute_options(*command, options->compute);
  command->add_flag("--json", options->json, "one JSON object a line");
  command->callback([options] { ModelBench(*options).run(); });
}

}  // namespace rapt
