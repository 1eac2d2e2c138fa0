#include "cli/train.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command_line.h"
#include "cli/output.h"
#include "core/error.h"
#include "training/progress.h"
#include "training/run.h"
#include "training/signals.h"

namespace rapt {
namespace {

using training::Setting;

/// 128 + SIGTERM, whichever signal it was: saved, and to be resumed.
constexpr int stopped_exit_code = 143;

struct TrainOptions {
  training::RunRequest request;
  training::FineTuning fine_tuning;
  std::string source;
  std::string target;
  std::string dev_source;
  std::string dev_target;
  std::string text;
  std::string dev_text;
};

std::optional<training::ParallelFiles> pair_of(const std::string& source, const std::string& target,
                                               std::string_view prefix) {
  cli::require_usage(source.empty() == target.empty(), "--{0}source and --{0}target go together; one is missing",
                     prefix);
  if (source.empty()) return std::nullopt;
  return training::ParallelFiles{.source = source, .target = target};
}

std::optional<std::filesystem::path> path_of(const std::string& path) {
  if (path.empty()) return std::nullopt;
  return path;
}

std::string_view name_of(training::FinalModel model) {
  switch (model) {
    case training::FinalModel::average:
      return "the mean of the last checkpoints";
    case training::FinalModel::best:
      return "the best in validation";
    default:
      return "the last";
  }
}

void report(const TrainOptions& options, const training::Outcome& outcome, training::Observer& observer) {
  const std::string output = options.request.output.string();
  if (outcome.ending == training::Ending::stopped) {
    observer.note(
        fmt::format("stopped by a signal after step {} and saved; go on with: rapt train --resume --output {}",
                    outcome.step, output));
    throw CLI::RuntimeError(stopped_exit_code);
  }
  const std::string step =
      outcome.chosen == training::FinalModel::best ? fmt::format(", of step {}", outcome.best_step) : "";
  observer.note(fmt::format("{} after step {}; {}: {}{}", training::describe(outcome.ending), outcome.step, output,
                            name_of(outcome.chosen), step));
}

/// The options of fine-tuning that were given, if there are any.
std::optional<training::FineTuning> fine_tuning_of(const TrainOptions& options) {
  const training::FineTuning& given = options.fine_tuning;
  if (!given.from.empty()) return given;
  const training::FineTuning none;
  const auto refuse = [](std::string_view option, const std::string& value, const std::string& usual) {
    cli::require_usage(value == usual, "--{} {} goes with --from, a model to train further", option, value);
  };
  refuse("document", given.document, none.document);
  refuse("prefix", given.prefix, none.prefix);
  refuse("source-language", given.source_language, none.source_language);
  refuse("target-language", given.target_language, none.target_language);
  return std::nullopt;
}

void train(TrainOptions& options) {
  options.request.fine_tuning = fine_tuning_of(options);
  training::TaskFiles& files = options.request.files;
  files.pairs = pair_of(options.source, options.target, "");
  files.dev_pairs = pair_of(options.dev_source, options.dev_target, "dev-");
  files.text = path_of(options.text);
  files.dev_text = path_of(options.dev_text);

  const training::StopSignals signals;
  training::Progress progress(stderr, {.columns = cli::terminal_columns});
  const training::Outcome outcome = training::run(options.request, progress, [&signals] { return signals.received(); });
  report(options, outcome, progress);
}

void add_files(CLI::App& command, TrainOptions& options) {
  const std::string group = "Text (plain or gzip)";
  const auto add = [&](const char* name, std::string& value, const char* help) {
    command.add_option(name, value, help)->type_name("FILE")->group(group);
  };
  add("--source", options.source, "sentences to translate, one a line");
  add("--target", options.target, "their translations, line by line");
  add("--dev-source", options.dev_source, "sentences to validate with");
  add("--dev-target", options.dev_target, "their translations");
  add("--text", options.text, "text for a language model or an encoder");
  add("--dev-text", options.dev_text, "text to validate with");
  command
      .add_option("--dev-fraction", options.request.files.dev_fraction,
                  "part of --text, at its end, to hold out when there is no --dev-text (default 0.1)")
      ->type_name("NUMBER")
      ->group(group);
  command
      .add_flag("--skip-invalid", options.request.files.skip_invalid,
                "drop lines that are not UTF-8 instead of refusing the file")
      ->group(group);
}

void add_fine_tuning(CLI::App& command, TrainOptions& options) {
  const std::string group = "A model to train further";
  const auto add = [&](const char* name, std::string& value, const char* type, const char* help) {
    return command.add_option(name, value, help)->type_name(type)->group(group);
  };
  training::FineTuning& fine_tuning = options.fine_tuning;
  CLI::Option* from = add(
      "--from", fine_tuning.from, "MODEL",
      "Hugging Face directory or GGUF file of a model of any family, instead of a recipe's new model: decoders learn "
      "the next tokens and encoders the masked tokens of --text, encoder-decoders the --target of each --source. "
      "--output becomes the same directory with new weights, of a GGUF file the Hugging Face directory that it stands "
      "for. AdamW, 3 epochs, peak 5e-5, unless numbers below say otherwise");
  from->transform(cli::model_path());
  add("--document", fine_tuning.document, "file|blank-line|line|chat",
      "what ends a document of --text: sequences do not reach over its end (default file). chat: every line is a JSON "
      "object with \"messages\" (role, content), written out by the model's chat template; only what the assistant "
      "says is learnt");
  add("--prefix", fine_tuning.prefix, "TEXT", "put before every source, such as \"translate English to German: \"");
  add("--source-language", fine_tuning.source_language, "NAME",
      "for tokenizers that mark texts with their language, such as en_XX");
  add("--target-language", fine_tuning.target_language, "NAME", "likewise");
}

std::string recipe_help() {
  std::string text = "set of numbers to start from (default: tiny; nanogpt-cpu for --text):";
  for (const training::Recipe& recipe : training::recipes())
    text += fmt::format("\n  {}: {}", recipe.name, recipe.about);
  return text;
}

void add_setting(CLI::App& command, TrainOptions& options, const Setting& setting) {
  const std::string name(setting.name);
  const auto set = [&options, name](const std::string& value) { options.request.settings.emplace_back(name, value); };
  command.add_option_function<std::string>("--" + name, set, std::string(setting.help))
      ->type_name(std::string(setting.type))
      ->group("Numbers of the recipe");
}

}  // namespace

void add_train(CLI::App& app) {
  const auto options = std::make_shared<TrainOptions>();
  CLI::App& command =
      *app.add_subcommand("train", "train a translation or language model from text files, or any model further");
  command.footer(
      "\nExamples:\n"
      "  rapt train --recipe small --source a.en --target a.de --output en-de\n"
      "  rapt train --recipe nanogpt-cpu --text shakespeare.txt --output shakespeare\n"
      "  rapt train --from SmolLM2-135M --text handbook.txt --output handbook-lm\n"
      "  rapt train --resume --output en-de");
  add_files(command, *options);
  command.add_option("--output", options->request.output, "directory for the model and its checkpoints")
      ->type_name("DIRECTORY")
      ->required();
  command.add_flag("--resume", options->request.resume,
                   "go on from the newest checkpoint in --output; what is not given is as it was");
  command.add_option("--recipe", options->request.recipe, recipe_help())->type_name("NAME");
  add_fine_tuning(command, *options);
  command.add_option("--threads", options->request.threads, "0: as many as the process may use")->type_name("INT");
  command
      .add_option("--gauge", options->request.gauge_seconds,
                  "seconds to measure what the machine can do, for the per cents shown; 0: not measured")
      ->type_name("NUMBER")
      ->capture_default_str();
  for (const Setting& setting : training::settings()) add_setting(command, *options, setting);
  command
      .add_flag_callback(
          "--separate", [&options = *options] { options.request.settings.emplace_back("joint", "no"); },
          "a vocabulary for each language: --joint no")
      ->group("Numbers of the recipe");
  command.callback([options] { train(*options); });
}

}  // namespace rapt
