#include "cli/evaluate.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "formats/line_reader.h"
#include "text/bleu.h"
#include "text/chrf.h"
#include "text/utf8.h"

namespace rapt {
namespace {

struct EvaluateOptions {
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

std::string as_json(const Scores& scores) {
  const BleuScore& bleu = scores.bleu;
  const nlohmann::ordered_json object{
      {"bleu",
       {{"score", bleu.score},
        {"precisions", bleu.precisions},
        {"brevity_penalty", bleu.brevity_penalty},
        {"ratio", bleu.ratio()},
        {"hypothesis_length", bleu.hypothesis_length},
        {"reference_length", bleu.reference_length},
        {"signature", bleu.signature}}},
      {"chrf", {{"name", scores.chrf.name}, {"score", scores.chrf.score}, {"signature", scores.chrf.signature}}}};
  return object.dump() + "\n";
}

/// Throws Error unless the two files have a line for each line of the other.
void require_same_lines(const std::string& name, std::size_t lines, const std::string& other, std::size_t other_lines) {
  if (lines == other_lines) return;
  const bool first_longer = lines > other_lines;
  fail("{} has {} lines and {} has {}: line {} of {} has no counterpart; both need a line for each segment", name,
       lines, other, other_lines, std::min(lines, other_lines) + 1, first_longer ? name : other);
}

void print(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  require(written, "cannot write to standard output: {}", std::strerror(errno));
}

void evaluate(const EvaluateOptions& options) {
  const auto inputs = std::ranges::count(options.references, "-") + (options.hypothesis == "-" ? 1 : 0);
  require(inputs <= 1, "only one of --hypothesis and --reference can be standard input (-)");
  const std::vector<std::string> hypotheses = read_segments(options.hypothesis);
  require(!hypotheses.empty(), "{} has no lines, so there is nothing to score", options.hypothesis);
  std::vector<std::vector<std::string>> references;
  for (const std::string& path : options.references) {
    references.push_back(read_segments(path));
    require_same_lines(options.hypothesis, hypotheses.size(), path, references.back().size());
  }
  const Scores scores = score(hypotheses, references, options);
  print(options.json ? as_json(scores) : as_text(scores));
}

}  // namespace

void add_evaluate(CLI::App& app) {
  const auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = app.add_subcommand("evaluate", "BLEU and chrF of translations, as sacreBLEU computes them");
  command->add_option("--hypothesis", options->hypothesis, "Translations, a segment a line; plain, .gz, or - for stdin")
      ->required()
      ->type_name("FILE");
  command->add_option("--reference", options->references, "References, a segment a line; may be given several times")
      ->required()
      ->allow_extra_args(false)
      ->type_name("FILE");
  command->add_option("--tokenize", options->tokenize, "Tokenisation for BLEU")
      ->check(CLI::IsMember({"13a", "none", "intl", "char"}))
      ->capture_default_str();
  command->add_flag("--lowercase", options->lowercase, "Ignore letter case");
  command->add_flag("--chrf-words", options->words, "chrF++ in place of chrF: also count words and pairs of words");
  command->add_flag("--json", options->json, "Print one line of JSON");
  command->callback([options] { evaluate(*options); });
}

}  // namespace rapt
