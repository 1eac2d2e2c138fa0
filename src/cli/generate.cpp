#include "cli/generate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/command_line.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/writing_options.h"
#include "core/error.h"
#include "decoding/language_model.h"
#include "formats/file.h"
#include "formats/json.h"
#include "view/read_text.h"

namespace rapt {
namespace {

struct GenerateCommand {
  std::string model;
  std::string prompt = "\n";
  std::string prompt_file;
  std::string input;
  std::string attention;
  bool json = false;
  cli::ComputeOptions compute;
  GeneratorOptions generator;
  GenerateOptions generate;
};

/// The object that --json writes for a text.
OrderedJson json_of(const std::string& prompt, const GeneratedText& text, const GenerateOptions& options) {
  const bool scored = options.log_probabilities || options.beam > 0;
  OrderedJson json = {{"prompt", prompt}, {"text", text.text}, {"finish", name_of(text.finish)}};
  if (scored) json["log_probability"] = text.log_probability;
  if (options.beam > 0) json["score"] = text.score;
  json["prompt_tokens"] = text.prompt_tokens;
  json["tokens"] = OrderedJson::array();
  for (const GeneratedToken& token : text.tokens) {
    OrderedJson of_token = {{"id", token.id}, {"text", token.text}};
    if (scored) of_token["log_probability"] = token.log_probability;
    json["tokens"].push_back(std::move(of_token));
  }
  return json;
}

/// Writes texts for some prompts after the other.
class Writer {
 public:
  explicit Writer(const GenerateCommand& options) : options_(options), model_(options.model, options.generator) {
    generate_ = options.generate;
    cli::warn_of_ignored(options.model, model_.generation_config());
  }

  /// One text is shown while it is written, behind its prompt, which is shown first unless reading it takes long.
  void write_one(const std::string& prompt) {
    model_.check(prompt, generate_);
    warn_of_length(std::ssize(model_.first_tokens(prompt, generate_)));
    cli::ProgressLine progress("tokens");
    bool shown = false;
    const auto show_prompt = [&] {
      if (!std::exchange(shown, true)) cli::print(prompt);
      cli::flush();
    };
    const auto on_text = [&](auto, auto, std::string_view more) {
      show_prompt();
      cli::print(more);
      cli::flush();
      return true;
    };
    const auto on_read = [&](std::int64_t done, std::int64_t all) {
      constexpr std::int64_t many = 1024;
      if (!shown && all < many) show_prompt();
      if (!shown) progress.show(static_cast<double>(done), static_cast<double>(all));
    };
    const auto texts = model_.generate(std::span(&prompt, 1), generate_, on_text, on_read);
    show_prompt();
    cli::print("\n");
    finish(prompt, texts[0][0]);
  }

  void write(const std::vector<std::string>& prompts) {
    const auto on_read = [&](std::int64_t done, std::int64_t all) {
      if (done == 0) tokens_ += all;
      progress_.show(static_cast<double>(tokens_ - all + done), 0);
    };
    const auto texts = model_.generate(prompts, generate_, {}, on_read);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      for (const GeneratedText& text : texts[i]) show(prompts[i], text);
    }
    generate_.stream += prompts.size() * static_cast<std::uint64_t>(generate_.samples);
    cli::flush();
  }

  /// What every head looked at in the first text.
  void write_page() {
    write_file_durably(options_.attention, view::page_of_reading(model_.context(), model_.model(), model_.tokenizer(),
                                                                 first_, options_.model));
  }

 private:
  void show(const std::string& prompt, const GeneratedText& text) {
    if (options_.json) {
      cli::print(json_line(json_of(prompt, text, generate_)) + "\n");
    } else {
      cli::print((shown_++ > 0 ? "---\n" : "") + prompt + text.text + "\n");
    }
    finish(prompt, text);
  }

  void finish(const std::string& prompt, const GeneratedText& text) {
    warn_of_length(text);
    if (!first_.empty()) return;
    first_ = model_.first_tokens(prompt, generate_);
    for (const GeneratedToken& token : text.tokens) first_.push_back(token.id);
  }

  void warn_of_length(std::int64_t prompt_tokens) {
    const ModelConfig& config = model_.model().config();
    if (prompt_tokens <= config.max_positions) return;
    cli::warn("the prompt has {} tokens, more than the {} that the model was made for", prompt_tokens,
              config.max_positions);
    warned_ = true;
  }

  void warn_of_length(const GeneratedText& text) {
    const ModelConfig& config = model_.model().config();
    if (text.finish == FinishReason::context) {
      cli::warn("stopped after {} tokens: the model has {} positions", text.tokens.size(), config.max_positions);
    } else if (!warned_ && text.prompt_tokens + std::ssize(text.tokens) > config.max_positions) {
      cli::warn("prompt and text have more tokens than the {} that the model was made for", config.max_positions);
      warned_ = true;
    }
  }

  const GenerateCommand& options_;
  decoding::LanguageModel model_;
  GenerateOptions generate_;
  std::vector<std::int32_t> first_;  // tokens of the first text, prompt included
  cli::ProgressLine progress_{"tokens"};
  std::int64_t tokens_ = 0;  // read and written so far
  std::int64_t shown_ = 0;
  bool warned_ = false;
};

void run(GenerateCommand& options) {
  cli::require_nbest(options.generate.nbest, std::max(options.generate.beam, 1));
  options.generator.threads = options.compute.threads;
  options.generator.precision = options.compute.precision;
  if (!options.prompt_file.empty()) options.prompt = cli::read_text(options.prompt_file);
  Writer writer(options);
  if (!options.input.empty()) {
    cli::Input input(options.input);
    for (std::vector<std::string> lines = input.next_lines(); !lines.empty(); lines = input.next_lines())
      writer.write(lines);
  } else if (options.json || options.generate.samples > 1 || options.generate.beam > 0) {
    writer.write({options.prompt});
  } else {
    writer.write_one(options.prompt);
  }
  cli::flush();
  if (!options.attention.empty()) writer.write_page();
}

void add_prompt_options(CLI::App& command, GenerateCommand& options) {
  CLI::Option* prompt = command.add_option("--prompt", options.prompt, "text to continue (default: a new line)");
  CLI::Option* file =
      command.add_option("--prompt-file", options.prompt_file,
                         "file with the text to continue, but for the newline at its end; -: standard input");
  CLI::Option* input =
      command.add_option("--input", options.input, "file with a prompt a line, plain or gzip; -: standard input");
  prompt->type_name("TEXT")->excludes(file)->excludes(input);
  file->type_name("FILE")->excludes(input);
  input->type_name("FILE");
  command.add_option("--prefix", options.generate.prefix, "what the text written is made to begin with")
      ->type_name("TEXT");
}

void add_search_options(CLI::App& command, GenerateOptions& options) {
  CLI::Option* beam = command
                          .add_option("--beam", options.beam,
                                      "search for the likeliest texts with so many hypotheses, in place of drawing")
                          ->check(cli::between(1, 1024))
                          ->excludes("--temperature")
                          ->excludes("--top-k")
                          ->excludes("--top-p")
                          ->excludes("--min-p")
                          ->excludes("--samples");
  command.add_option("--nbest", options.nbest, "texts to write of those found")
      ->capture_default_str()
      ->check(cli::between(1, 1024))
      ->needs(beam);
  cli::add_length_penalty_options(command, options.length_penalty, options.alpha, "average");
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateCommand>();
  CLI::App* command = app.add_subcommand("generate", "continue a text with a language model");
  cli::add_model_option(*command, options->model)->required();
  command->footer(
      "\nExamples:\n"
      "  rapt generate smollm2 --prompt \"The capital of France is\" --max-tokens 20\n"
      "  rapt generate smollm2 --prompt-file letter.txt --temperature 0 --stop Yours\n"
      "  rapt generate smollm2 --input prompts --samples 5 --json > texts.jsonl");
  add_prompt_options(*command, *options);
  GenerateOptions& generate = options->generate;
  command->add_option("--max-tokens", generate.max_tokens, "most tokens to write")
      ->capture_default_str()
      ->check(cli::between(1, 1 << 20));
  command->add_option("--stop", generate.stop, "end the text before this; may be given several times")
      ->type_name("TEXT")
      ->check(cli::some_text())
      ->allow_extra_args(false);
  command->add_option("--samples", generate.samples, "texts to write for a prompt")
      ->capture_default_str()
      ->check(cli::between(1, 1024));
  cli::add_sampling_options(*command, generate, "1, from all tokens");
  add_search_options(*command, generate);
  CLI::Option* json = command->add_flag("--json", options->json, "write an object for each text, one a line");
  command
      ->add_flag("--log-probabilities", generate.log_probabilities,
                 "tell how likely the model finds each token that is written")
      ->needs(json);
  cli::add_output_option(*command, "--attention", options->attention,
                         "page that shows what every head looked at in the first text", "FILE.html");
  cli::add_attention_option(*command, options->generator.attention);
  cli::add_compute_options(*command, options->compute);
  cli::add_cache_option(*command, options->generator);
  command->callback([options] { run(*options); });
}

}  // namespace rapt
