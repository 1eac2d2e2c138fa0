#include "cli/generate.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/output.h"
#include "core/error.h"
#include "decoding/generate.h"
#include "decoding/model_stepper.h"
#include "families/checkpoint.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace rapt {
namespace {

struct Options {
  std::string model;
  std::string prompt = "\n";
  std::int32_t max_tokens = 256;
  std::int32_t samples = 1;
  std::string use_attention;
  cli::ComputeOptions compute;
  decoding::SamplingOptions sampling;
};

/// Prints a text as it grows, whole characters only.
class Stream {
 public:
  explicit Stream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void add(std::int32_t token) {
    tokens_.push_back(token);
    const std::string text = tokenizer_.decode(tokens_);
    const std::size_t whole = std::min(first_invalid_utf8(text), text.size());
    if (whole <= printed_) return;
    cli::print(std::string_view(text).substr(printed_, whole - printed_));
    cli::flush();
    printed_ = whole;
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> tokens_;
  std::size_t printed_ = 0;
};

void run(const Options& options) {
  const auto model = map_model(options.model, parse_attention_rules(options.use_attention));
  require(!model->config().encoder_only(), "{}: a {} model encodes texts and does not continue them", options.model,
          model->config().family);
  require(model->config().decoder_only(), "{}: a {} model translates; use rapt translate", options.model,
          model->config().family);
  const auto tokenizer = load_tokenizer(options.model);
  require_utf8(options.prompt, "--prompt");
  std::vector<std::int32_t> prompt = tokenizer->encode(options.prompt);
  if (prompt.empty() && model->config().bos >= 0) prompt.push_back(model->config().bos);
  require(!prompt.empty(), "--prompt: the text is empty; this model needs a first token to go on from");

  const std::vector<std::vector<std::int32_t>> prompts(static_cast<std::size_t>(options.samples), prompt);
  Context ctx({.threads = options.compute.threads,
               .compute = options.compute.precision == Precision::bf16 ? DType::bf16 : DType::f32});
  decoding::ModelStepper stepper(ctx, *model,
                                 {.sequences = options.samples,
                                  .max_hypotheses = options.samples,
                                  .capacity = static_cast<std::int32_t>(prompt.size()) + options.max_tokens});
  decoding::GenerateOptions generate{.sampling = options.sampling, .max_tokens = options.max_tokens};
  generate.stop = model->config().more_eos;
  if (tokenizer->special().eos) generate.stop.push_back(*tokenizer->special().eos);

  // One text is shown while it is written; several would get mixed up.
  Stream stream(*tokenizer);
  if (options.samples == 1) cli::print(options.prompt);
  const auto texts =
      decoding::generate(ctx, stepper, RaggedTokens::of(prompts), generate, [&](std::int32_t, std::int32_t token) {
        if (options.samples == 1) stream.add(token);
        return true;
      });
  for (std::size_t i = 0; options.samples > 1 && i < texts.size(); ++i) {
    cli::print(fmt::format("{}{}{}\n", i > 0 ? "---\n" : "", options.prompt, tokenizer->decode(texts[i].tokens)));
  }
  if (options.samples == 1) cli::print("\n");
  cli::flush();
  const std::int64_t written = static_cast<std::int64_t>(texts.front().tokens.size());
  if (texts.front().finish == decoding::Finish::length && written < options.max_tokens) {
    cli::warn("stopped after {} tokens: the model has {} positions", written, model->config().max_positions);
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "continue a text with a language model");
  command->add_option("model", options->model, "directory of the model")->required()->type_name("MODEL");
  command->add_option("--prompt", options->prompt, "text to continue (default: a new line)")->type_name("TEXT");
  command->add_option("--max-tokens", options->max_tokens, "tokens to write")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--samples", options->samples, "texts to write")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--temperature", options->sampling.temperature,
                   "logits are divided by it; 0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "draw from the k likeliest tokens; 0: from all")
      ->capture_default_str();
  command
      ->add_option("--top-p", options->sampling.top_p,
                   "draw from the likeliest tokens that have this much of the probability together")
      ->capture_default_str();
  command
      ->add_option("--min-p", options->sampling.min_p,
                   "draw from tokens at least this many times as likely as the likeliest")
      ->capture_default_str();
  command
      ->add_option("--repetition-penalty", options->sampling.repetition_penalty,
                   "over 1: makes tokens that were used less likely")
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "of what is drawn")->capture_default_str();
  cli::add_attention_option(*command, options->use_attention);
  cli::add_compute_options(*command, options->compute);
  command->callback([options] { run(*options); });
}

}  // namespace rapt
