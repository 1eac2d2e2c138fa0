#include "cli/inspect.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/inspect_gguf.h"
#include "cli/output.h"
#include "core/error.h"
#include "families/checkpoint.h"
#include "formats/printable.h"
#include "text/tokenizer.h"
#include "training/progress.h"

namespace rapt {
namespace {

struct InspectCommand {
  std::string model;
  bool tensors = false;
  bool verify = false;
};

std::string_view name_of(Positions positions) {
  switch (positions) {
    case Positions::sinusoidal:
    case Positions::sinusoidal_fairseq:
      return "sinusoidal";
    case Positions::learned:
      return "learned";
    case Positions::rotary:
      return "rotary";
    case Positions::relative:
      return "relative";
  }
  return "";
}

std::string_view kind_of(const ModelConfig& c) {
  if (c.encoder_decoder()) return "encoder-decoder";
  return c.encoder_only() ? "encoder-only" : "decoder-only";
}

std::string_view name_of(NormPlacement placement) {
  switch (placement) {
    case NormPlacement::post:
      return "post";
    case NormPlacement::pre:
      return "pre";
    case NormPlacement::sandwich:
      return "sandwich";
  }
  return "";
}

std::string stack_text(const ModelConfig& c, AttentionKind kind, int heads, std::int64_t feed_forward) {
  const int kv_heads = c.kv_heads_of(kind);
  return fmt::format("{:<12}{} layers, {} heads of {}{}, feed-forward {}{}{}\n", rapt::name_of(kind),
                     layers_of(c, kind), heads, c.d_head_of(heads),
                     kv_heads < heads ? fmt::format(" for {} of keys", kv_heads) : "", feed_forward,
                     c.gated ? " gated" : "", c.parallel_residual ? ", in parallel" : "");
}

/// What working with the model keeps in memory, beside the activations of a moment.
std::string memory_text(const Transformer& model) {
  const ModelConfig& config = model.config();
  const auto in_both = [](auto&& text_of) {
    return fmt::format("{} in f32, {} in bf16", text_of(size_of(DType::f32)), text_of(size_of(DType::bf16)));
  };
  std::string text = fmt::format("memory      weights {}\n", in_both([&](std::size_t element) {
                                   return cli::megabytes(static_cast<std::size_t>(model.parameter_count()) * element);
                                 }));
  if (config.encoder_only()) return text;
  const CacheSize size = model.cache_size();
  if (size.of_token > 0) {
    text += fmt::format("cache       {} bytes a token of a text", in_both([&](std::size_t element) {
                          return training::grouped(size.of_token * static_cast<std::int64_t>(element));
                        }));
    text +=
        fmt::format("; of {} tokens {}\n", training::grouped(config.max_positions), in_both([&](std::size_t element) {
                      return cli::megabytes(static_cast<std::size_t>(size.of_token * config.max_positions) * element);
                    }));
  }
  if (size.of_hypothesis > 0)
    text += fmt::format("state       {} of linear layers a text, however long\n",
                        cli::megabytes(static_cast<std::size_t>(size.of_hypothesis) * size_of(DType::f32)));
  return text;
}

std::string describe(const Transformer& model) {
  const ModelConfig& c = model.config();
  std::string text = fmt::format("family      {} ({})\n", c.family, kind_of(c));
  if (!c.decoder_only()) text += stack_text(c, AttentionKind::encoder, c.encoder_heads, c.encoder_ff);
  if (!c.encoder_only()) text += stack_text(c, AttentionKind::decoder, c.decoder_heads, c.decoder_ff);
  text += fmt::format("d_model     {}, {}-norm{}, {} positions{}\n", c.d_model, name_of(c.norm),
                      c.norm_kind == NormKind::rms ? " (RMS)" : "", name_of(c.positions),
                      fmt::format(" ({} {})", c.limited_positions() ? "at most" : "made for", c.max_positions));
  text += fmt::format("attention   {}\n", attention_text(c));
  text += fmt::format("vocabulary  {}{}\n", c.vocab,
                      c.shared_embeddings || !c.encoder_decoder() ? "" : fmt::format(" (source {})", c.source_vocab));
  return text + memory_text(model);
}

/// "3 ignored (a, b, c)"
std::string counted(const std::vector<std::string>& names, std::string_view what) {
  if (names.empty()) return fmt::format("0 {}", what);
  return fmt::format("{} {} ({})", names.size(), what, fmt::join(names, ", "));
}

std::string account_text(const CheckpointAccount& account) {
  return fmt::format("keys        {} understood, {}\ntensors     {} used, {}, {}\n", account.understood_keys.size(),
                     counted(account.irrelevant_keys, "irrelevant"), account.tensors.used.size(),
                     counted(account.tensors.repeated, "that repeat others"),
                     counted(account.tensors.ignored, "ignored"));
}

void run(const InspectCommand& options) {
  if (!std::filesystem::is_directory(options.model)) {
    inspect_gguf(options.model, {.tensors = options.tensors, .verify = options.verify, .describe = describe});
    return;
  }
  const auto model = map_model(options.model);
  const auto tensors = read_safetensors_directory(options.model).tensors;
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.bytes();
  cli::print(describe(*model));
  cli::print(fmt::format("parameters  {} in {} tensors, {} on disk\n", training::grouped(model->parameter_count()),
                         tensors.size(), cli::megabytes(bytes)));
  if (options.tensors) {
    for (const auto& [name, tensor] : tensors)
      cli::print(fmt::format("{:<64} {:<5} {}\n", name, rapt::name_of(tensor.dtype()), tensor.shape()));
  }
  if (options.verify) {
    const auto damaged = find_non_finite(tensors);
    for (const NonFinite& tensor : damaged)
      cli::print(fmt::format("{}: {} elements are not finite\n", printable(tensor.name), tensor.count));
    cli::print(account_text(account_for(options.model)));
    cli::flush();
    require(damaged.empty(), "{}: {} tensors hold NaN or infinity; the weights are damaged, fetch them again",
            options.model, damaged.size());
    cli::print(
        "verified    every key of config.json is understood or irrelevant, every tensor is used once, all weights are "
        "finite\n");
    cli::flush();
    cli::print(fmt::format("tokenizer   {} pieces\n", load_tokenizer(options.model)->vocab_size()));
  }
  cli::flush();
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectCommand>();
  CLI::App* command = app.add_subcommand("inspect", "show what a model directory or a GGUF file holds");
  cli::add_model_option(*command, options->model)->required();
  command->add_flag("--tensors", options->tensors, "list the tensors");
  command->add_flag("--verify", options->verify, "account for every key and tensor, look for NaN, read the tokenizer");
  command->callback([options] { run(*options); });
}

}  // namespace rapt
