#include "cli/inspect.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/inspect_gguf.h"
#include "cli/output.h"
#include "families/checkpoint.h"
#include "text/tokenizer.h"

namespace rapt {
namespace {

struct Options {
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

std::string describe(const ModelConfig& c) {
  std::string text =
      fmt::format("family      {} ({})\n", c.family, c.encoder_decoder() ? "encoder-decoder" : "decoder-only");
  if (c.encoder_decoder())
    text += fmt::format("encoder     {} layers, {} heads, feed-forward {}\n", c.encoder_layers, c.encoder_heads,
                        c.encoder_ff);
  text += fmt::format("decoder     {} layers, {} heads, feed-forward {}\n", c.decoder_layers, c.decoder_heads,
                      c.decoder_ff);
  text +=
      fmt::format("d_model     {}, {}-norm, {} positions{}\n", c.d_model, c.norm == NormPlacement::pre ? "pre" : "post",
                  name_of(c.positions), !c.limited_positions() ? "" : fmt::format(" (at most {})", c.max_positions));
  text += fmt::format("attention   {}\n", attention_text(c));
  text += fmt::format("vocabulary  {}{}\n", c.vocab,
                      c.shared_embeddings || !c.encoder_decoder() ? "" : fmt::format(" (source {})", c.source_vocab));
  return text;
}

/// What decoding keeps, in f32.
std::string cache_text(const Transformer& model) {
  const CacheSize size = model.cache_size();
  const std::int64_t element = static_cast<std::int64_t>(size_of(DType::f32));
  std::string text = fmt::format("cache       {} bytes a token of a hypothesis", size.of_token * element);
  if (size.of_hypothesis > 0) text += fmt::format(", and {} for each, however long", size.of_hypothesis * element);
  return text + ", in f32\n";
}

void run(const Options& options) {
  if (!std::filesystem::is_directory(options.model)) {
    return inspect_gguf(options.model, {.tensors = options.tensors, .verify = options.verify});
  }
  const auto model = map_model(options.model);
  const auto tensors = read_safetensors_directory(options.model).tensors;
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.bytes();
  cli::print(describe(model->config()));
  cli::print(fmt::format("parameters  {} in {} tensors, {:.1f} MB on disk\n", model->parameter_count(), tensors.size(),
                         static_cast<double>(bytes) / 1e6));
  cli::print(cache_text(*model));
  if (options.tensors) {
    for (const auto& [name, tensor] : tensors)
      cli::print(fmt::format("{:<64} {:<5} {}\n", name, rapt::name_of(tensor.dtype()), tensor.shape().text()));
  }
  if (options.verify) {
    const auto damaged = find_non_finite(tensors);
    for (const NonFinite& tensor : damaged)
      cli::print(fmt::format("{}: {} elements are not finite\n", tensor.name, tensor.count));
    const auto tokenizer = load_tokenizer(options.model);
    cli::print(fmt::format(
        "verified    every key of config.json is understood or irrelevant, every tensor is used once, {}; tokenizer of "
        "{} pieces\n",
        damaged.empty() ? "all weights are finite" : "some weights are not finite", tokenizer->vocab_size()));
  }
  cli::flush();
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("inspect", "show what a model directory or a GGUF file holds");
  command->add_option("model", options->model, "directory of the model, or a GGUF file")
      ->required()
      ->type_name("MODEL");
  command->add_flag("--tensors", options->tensors, "list the tensors");
  command->add_flag("--verify", options->verify, "account for every key and tensor, look for NaN, read the tokenizer");
  command->callback([options] { run(*options); });
}

}  // namespace rapt
