#include "cli/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bench_attention.h"
#include "cli/bench_model.h"
#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "core/error.h"
#include "kernels/ceiling.h"
#include "kernels/dispatch.h"
#include "kernels/gemm.h"
#include "model/transformer.h"
#include "training/optimizer.h"
#include "training/recipe.h"

namespace rapt {
namespace {

struct BenchCommand {
  int threads = 0;
  bool json = false;
  std::vector<std::string> recipes{"base", "small"};
  int steps = 7;
  int sequences = 64;
  int length = 24;
  std::int64_t vocab = 8000;
};

DType dtype_of(Precision precision) {
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

void bench_gemm(const BenchCommand& options) {
  const Context ctx({.threads = options.threads});
  const double bandwidth = kernels::memory_bandwidth(ctx) / 1e9;
  bench::report(
      {{"what", "memory"}, {"threads", ctx.threads()}, {"gbps", bandwidth}, {"isa", kernels::name_of(kernels::isa())}},
      options.json,
      fmt::format("{} threads, {}; reading memory {:.1f} GB/s", ctx.threads(), kernels::name_of(kernels::isa()),
                  bandwidth));
  const kernels::GemmShape shapes[] = {{3072, 512, 512}, {1536, 2048, 512}, {1536, 512, 2048}, {1536, 8000, 512},
                                       {1536, 256, 256}, {1536, 8000, 256}, {8192, 128, 128}};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& shape : shapes) {
      const double rate = kernels::gemm_rate(ctx, dtype, 0.3, shape) / 1e9;
      bench::report({{"what", "gemm"},
                     {"dtype", name_of(dtype)},
                     {"m", shape.m},
                     {"n", shape.n},
                     {"k", shape.k},
                     {"threads", ctx.threads()},
                     {"gflops", rate}},
                    options.json,
                    fmt::format("{:<4}  {:>5} x {:>5} x {:>5}  {:7.1f} GFLOP/s", name_of(dtype), shape.m, shape.n,
                                shape.k, rate));
    }
  }
}

Batch random_batch(const ModelConfig& config, const BenchCommand& options) {
  RandomSequence random(1);
  const auto tokens = [&] {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(options.sequences * options.length));
    for (auto& id : ids) id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocab)));
    const std::vector<std::int32_t> lengths(static_cast<std::size_t>(options.sequences), options.length);
    return RaggedTokens{ids, Sequences::of_lengths(lengths)};
  };
  Batch batch{.input = tokens()};
  if (config.encoder_decoder()) batch.source = tokens();
  batch.targets = tokens().ids;
  return batch;
}

ModelConfig config_of(const training::Recipe& recipe, std::int64_t vocab) {
  ModelConfig config{.family = recipe.translation() ? "marian" : "gpt2", .vocab = vocab};
  config.d_model = recipe.model.d_model;
  config.encoder_layers = recipe.model.encoder_layers;
  config.decoder_layers = recipe.model.decoder_layers;
  config.encoder_heads = config.decoder_heads = recipe.model.heads;
  config.encoder_ff = config.decoder_ff = recipe.model.d_ff;
  config.activation = recipe.model.activation;
  config.dropout = config.embedding_dropout = static_cast<float>(recipe.model.dropout);
  config.decoder_start = config.pad = static_cast<std::int32_t>(vocab - 1);
  if (!recipe.translation()) {
    config.norm = NormPlacement::pre;
    config.positions = Positions::learned;
  }
  return config;
}

/// Times whole training steps (forward, backward, update) on one batch of random tokens.
void bench_train(const BenchCommand& options) {
  for (const std::string& name : options.recipes) {
    const training::Recipe& recipe = training::find_recipe(name);
    for (const Precision precision : {Precision::bf16, Precision::f32}) {
      Context ctx({.threads = options.threads, .compute = dtype_of(precision)});
      Transformer model(config_of(recipe, options.vocab));
      model.initialize(1);
      training::Optimizer optimizer(model.parameters(), recipe.optimizer);
      const Batch batch = random_batch(model.config(), options);
      const double tokens = static_cast<double>(batch.target_tokens());
      std::vector<double> seconds;
      std::uint64_t flops = 0;
      for (int i = 0; i < options.steps + 2; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        const std::uint64_t before = kernels::gemm_flops();
        ctx.random.start_step(static_cast<std::uint64_t>(i));
        Tape tape;
        ctx.tape = &tape;
        model.loss(ctx, batch, {.label_smoothing = 0.1, .gradient_scale = 1 / tokens});
        tape.run_backward(ctx);
        ctx.tape = nullptr;
        const double norm = optimizer.gradient_norm(ctx);
        optimizer.update(ctx, 1e-4, norm > 1 ? 1 / norm : 1);
        optimizer.clear_gradients();
        flops = kernels::gemm_flops() - before;
        if (i >= 2) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      }
      const double step = bench::median(seconds);
      const double rate = static_cast<double>(flops) / step / 1e9;
      const double ceiling = kernels::gemm_rate(ctx, ctx.compute, 0.5) / 1e9;
      bench::report(
          {{"what", "train"},
           {"recipe", name},
           {"dtype", name_of(ctx.compute)},
           {"sequences", options.sequences},
           {"length", options.length},
           {"vocab", options.vocab},
           {"threads", ctx.threads()},
           {"seconds", step},
           {"tokens_per_second", tokens / step},
           {"gflops", rate},
           {"ceiling_gflops", ceiling},
           {"percent_of_ceiling", 100 * rate / ceiling}},
          options.json,
          fmt::format("{:<12} {:<4}  {:7.1f} ms a step  {:8.0f} target tokens/s  {:6.1f} GFLOP/s, {:4.1f} % of {:.1f}",
                      name, name_of(ctx.compute), 1e3 * step, tokens / step, rate, 100 * rate / ceiling, ceiling));
    }
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchCommand>();
  CLI::App* command = app.add_subcommand("bench", "measure this machine and rapt on it");
  command->require_subcommand(1);
  const auto add_common = [&](CLI::App* what) {
    what->add_option("--threads", options->threads, "0: as many as the process may use")->check(cli::between(0, 1024));
    what->add_flag("--json", options->json, "one JSON object a line");
  };
  CLI::App* gemm = command->add_subcommand("gemm", "matrix products and memory: the ceilings");
  add_common(gemm);
  gemm->callback([options] { bench_gemm(*options); });
  add_bench_attention(*command);
  add_bench_model(*command);
  CLI::App* train =
      command->add_subcommand("train", "whole training steps, on random tokens; GFLOP/s count matrix products only");
  add_common(train);
  train->add_option("--recipe", options->recipes, "recipes to time")->capture_default_str();
  train->add_option("--steps", options->steps, "steps timed; the median counts")
      ->capture_default_str()
      ->check(cli::between(1, 10000));
  train->add_option("--sequences", options->sequences, "of a batch")
      ->capture_default_str()
      ->check(cli::between(1, 100000));
  train->add_option("--length", options->length, "tokens of each sequence, source and target")
      ->capture_default_str()
      ->check(cli::between(1, 1000));
  train->add_option("--vocab", options->vocab, "pieces in the vocabulary")
      ->capture_default_str()
      ->check(cli::between(2, 1000000));
  train->callback([options] { bench_train(*options); });
}

}  // namespace rapt
