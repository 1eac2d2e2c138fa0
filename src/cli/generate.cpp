#include "cli/generate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/output.h"
#include "core/error.h"
#include "decoding/generate.h"
#include "decoding/model_stepper.h"
#include "families/checkpoint.h"
#include "formats/file.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "view/read_text.h"

namespace rapt {
namespace {

struct Options {
  std::string model;
  std::string prompt = "\n";
  std::int32_t max_tokens = 256;
  std::int32_t samples = 1;
  std::string use_attention;
  std::string attention;
  cli::ComputeOptions compute;
  decoding::SamplingOptions sampling;
};

/// Prints the text that follows a prompt as it grows. The prompt's tokens are decoded with it, because what a token
/// stands for depends on whether it is the first.
class Continuation {
 public:
  Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt)
      : stream_(tokenizer.stream()), prompt_left_(tokenizer.decode(prompt).size()) {
    for (const std::int32_t token : prompt) add(token);
  }

  void add(std::int32_t token) { show(stream_->add(token)); }
  void finish() {
    show(stream_->finish());
    cli::print("\n");
  }

 private:
  void show(std::string_view text) {
    const std::size_t of_prompt = std::min(text.size(), prompt_left_);
    prompt_left_ -= of_prompt;
    if (of_prompt == text.size()) return;
    cli::print(text.substr(of_prompt));
    cli::flush();
  }

  std::unique_ptr<TextStream> stream_;
  std::size_t prompt_left_;  // bytes
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
  Continuation continuation(*tokenizer, prompt);
  if (options.samples == 1) cli::print(options.prompt);
  const auto texts =
      decoding::generate(ctx, stepper, RaggedTokens::of(prompts), generate, [&](std::int32_t, std::int32_t token) {
        if (options.samples == 1) continuation.add(token);
        return true;
      });
  for (std::size_t i = 0; options.samples > 1 && i < texts.size(); ++i) {
    cli::print((i > 0 ? "---\n" : "") + options.prompt);
    Continuation whole(*tokenizer, prompt);
    for (const std::int32_t token : texts[i].tokens) whole.add(token);
    whole.finish();
  }
  if (options.samples == 1) continuation.finish();
  cli::flush();
  if (!options.attention.empty()) {
    prompt.insert(prompt.end(), texts.front().tokens.begin(), texts.front().tokens.end());
    write_file_durably(options.attention, view::page_of_reading(ctx, *model, *tokenizer, prompt, options.model));
  }
  const std::int64_t written = static_cast<std::int64_t>(texts.front().tokens.size());
  if (texts.front().finish == decoding::Finish::length && written < options.max_tokens) {
    cli::warn("stopped after {} tokens: the model has {} positions", written, model->config().max_positions);
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "continue a text with a language model");
  cli::add_model_option(*command, options->model)->required();
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
  command->add_option("--attention", options->attention, "page that shows what every head looked at in the first text")
      ->type_name("FILE.html");
  cli::add_attention_option(*command, options->use_attention);
  cli::add_compute_options(*command, options->compute);
  command->callback([options] { run(*options); });
}

}  // namespace rapt
