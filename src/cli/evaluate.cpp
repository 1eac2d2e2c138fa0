#include "cli/evaluate.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/evaluate_model.h"
#include "core/error.h"
#include "formats/line_reader.h"
#include "text/bleu.h"
#include "text/chrf.h"
#include "text/utf8.h"

namespace rapt {
namespace {

struct EvaluateOptions {
  cli::ModelOptions model;
  std::string source;
  std::string text;
  std::string hypothesis;
  std::vector<std::string> references;
  std::string tokenize = "13a";
  bool lowercase = false;
  bool words = false;
  bool json = false;
};

struct Scores {
  BleuScore bleu;
  ChrfScore chrf;
};

/// The lines of a file ("-": of standard input), each a segment.
std::vector<std::string> read_segments(const std::string& path) {
  LineReader reader(path);
  std::vector<std::string> segments;
  for (std::string line; reader.next(line);) {
    if (first_invalid_utf8(line) != std::string::npos) require_utf8(line, reader.where());
    segments.push_back(line);
  }
  return segments;
}

Scores score(const std::vector<std::string>& hypotheses, const std::vector<std::vector<std::string>>& references,
             const EvaluateOptions& options) {
  constexpr int chrf_plus_plus_order = 2;
  return {
      .bleu = corpus_bleu(hypotheses, references,
                          {.tokenization = bleu_tokenization(options.tokenize), .lowercase = options.lowercase}),
      .chrf = corpus_chrf(hypotheses, references,
                          {.word_order = options.words ? chrf_plus_plus_order : 0, .lowercase = options.lowercase})};
}

std::string as_text(const Scores& scores) {
  return fmt::format("{}\n{}\nBLEU signature: {}\n{} signature: {}\n", scores.bleu.to_string(), scores.chrf.to_string(),
                     scores.bleu.signature, scores.chrf.name, scores.chrf.signature);
}

nlohmann::ordered_json as_json(const Scores& scores) {
  const BleuScore& bleu = scores.bleu;
  return {{"bleu",
           {{"score", bleu.score},
            {"precisions", bleu.precisions},
            {"brevity_penalty", bleu.brevity_penalty},
            {"ratio", bleu.ratio()},
            {"hypothesis_length", bleu.hypothesis_length},
            {"reference_length", bleu.reference_length},
            {"signature", bleu.signature}}},
          {"chrf", {{"name", scores.chrf.name}, {"score", scores.chrf.score}, {"signature", scores.chrf.signature}}}};
}

/// Throws Error unless the two files have a line for each line of the other.
void require_same_lines(const std::string& name, std::size_t lines, const std::string& other, std::size_t other_lines) {
  if (lines == other_lines) return;
  const bool first_longer = lines > other_lines;
  fail("{} has {} lines and {} has {}: line {} of {} has no counterpart; both need a line for each segment", name,
       lines, other, other_lines, std::min(lines, other_lines) + 1, first_longer ? name : other);
}

/// What is to be compared with the references: translations, or what is to be translated.
struct Segments {
  std::vector<std::string> lines;
  std::vector<std::vector<std::string>> references;
};

Segments read_all(const std::string& file, const std::string& option, const EvaluateOptions& options) {
  const auto inputs = std::ranges::count(options.references, "-") + (file == "-" ? 1 : 0);
  cli::require_usage(inputs <= 1, "only one of {} and --reference can be standard input (-)", option);
  Segments segments{.lines = read_segments(file), .references = {}};
  require(!segments.lines.empty(), "{} has no lines, so there is nothing to score", file);
  for (const std::string& path : options.references) {
    segments.references.push_back(read_segments(path));
    require_same_lines(file, segments.lines.size(), path, segments.references.back().size());
  }
  return segments;
}

void evaluate_files(const EvaluateOptions& options) {
  const Segments segments = read_all(options.hypothesis, "--hypothesis", options);
  const Scores scores = score(segments.lines, segments.references, options);
  cli::print(options.json ? as_json(scores).dump() + "\n" : as_text(scores));
}

void evaluate_translation(const EvaluateOptions& options) {
  const Segments segments = read_all(options.source, "--source", options);
  const cli::TranslatedSegments made =
      cli::translate_segments(options.model, segments.lines, segments.references.front());
  const Scores scores = score(made.translations, segments.references, options);
  const training::Score& reference = made.reference;
  if (options.json) {
    nlohmann::ordered_json object = as_json(scores);
    object["reference"] = {
        {"loss", reference.loss}, {"perplexity", reference.perplexity()}, {"tokens", reference.tokens}};
    object["attention"] = made.attention;
    cli::print(object.dump() + "\n");
    return;
  }
  cli::print(as_text(scores));
  cli::print(fmt::format("reference: perplexity {:.4f} a token, loss {:.4f}, {} tokens\nattention: {}\n",
                         reference.perplexity(), reference.loss, reference.tokens, made.attention));
}

void evaluate_text(const EvaluateOptions& options) {
  const cli::TextScore text = cli::score_text(options.model, options.text);
  const training::Score& score = text.score;
  if (options.json) {
    const nlohmann::ordered_json object{
        {"loss", score.loss},         {"perplexity", score.perplexity()}, {"bits_per_byte", text.bits_per_byte},
        {"tokens", score.tokens},     {"context", text.context},          {"stride", text.stride},
        {"attention", text.attention}};
    cli::print(object.dump() + "\n");
    return;
  }
  cli::print(fmt::format(
      "perplexity {:.4f} a token, loss {:.4f}, {:.4f} bits a byte, {} tokens; context {}, stride {}\n"
      "attention: {}\n",
      score.perplexity(), score.loss, text.bits_per_byte, score.tokens, text.context, text.stride, text.attention));
}

void evaluate(const EvaluateOptions& options) {
  const bool model = !options.model.directory.empty();
  cli::require_usage(model || (options.source.empty() && options.text.empty()),
                     "--source and --text need a model: rapt evaluate MODEL ...");
  cli::require_usage(
      model || !options.hypothesis.empty(),
      "nothing to score: give --hypothesis and --reference, or a MODEL with --source and --reference, or with "
      "--text");
  cli::require_usage(!model || options.hypothesis.empty(),
                     "--hypothesis is scored without a model; leave {} or --hypothesis out", options.model.directory);
  cli::require_usage(!model || options.source.empty() != options.text.empty(),
                     "{}: give --source and --reference to score translations, or --text to score a language model",
                     options.model.directory);
  cli::require_usage(!options.text.empty() || !options.references.empty(),
                     "--reference is missing: what to compare with");
  cli::require_usage(options.text.empty() || options.references.empty(), "--text is scored without --reference");
  if (!model) {
    evaluate_files(options);
  } else if (!options.source.empty()) {
    evaluate_translation(options);
  } else {
    evaluate_text(options);
  }
  cli::flush();
}

}  // namespace

void add_evaluate(CLI::App& app) {
  const auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = app.add_subcommand(
      "evaluate",
      "BLEU and chrF of translations, as sacreBLEU computes them; perplexity of a text for a language model");
  cli::add_model_option(*command, options->model.directory);
  command->footer(
      "\nExamples:\n"
      "  rapt evaluate --hypothesis target.de --reference reference.de\n"
      "  rapt evaluate en-de --source test.en --reference test.de\n"
      "  rapt evaluate smollm2 --text held-out.txt --context 1024 --stride 512");
  command->add_option("--source", options->source, "segments for the model to translate")->type_name("FILE");
  command->add_option("--text", options->text, "text to score a language model on; plain or .gz")->type_name("FILE");
  command
      ->add_option("--context", options->model.context,
                   "tokens of --text that the model sees at once (default: all its positions)")
      ->check(cli::between(1));
  command
      ->add_option("--stride", options->model.stride,
                   "tokens from one window of --text to the next; each scores what no earlier one did (default: half "
                   "the context)")
      ->check(cli::between(1));
  command->add_flag("--skip-invalid", options->model.skip_invalid,
                    "drop lines of --text that are not UTF-8 instead of refusing the file");
  command->add_option("--hypothesis", options->hypothesis, "translations, a segment a line; plain, .gz, or - for stdin")
      ->type_name("FILE");
  command->add_option("--reference", options->references, "references, a segment a line; may be given several times")
      ->allow_extra_args(false)
      ->type_name("FILE");
  command->add_option("--tokenize", options->tokenize, "tokenisation for BLEU")
      ->check(cli::word({"13a", "none", "intl", "char"}))
      ->capture_default_str();
  command->add_flag("--lowercase", options->lowercase, "ignore letter case");
  command->add_flag("--chrf-words", options->words, "chrF++ in place of chrF: also count words and pairs of words");
  command->add_flag("--json", options->json, "print one line of JSON");
  cli::add_language_options(*command, options->model.languages);
  cli::add_search_options(*command, options->model.search);
  cli::add_attention_option(*command, options->model.use_attention);
  cli::add_compute_options(*command, options->model.compute);
  command->callback([options] { evaluate(*options); });
}

}  // namespace rapt
