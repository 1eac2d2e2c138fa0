#include "cli/translate.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "decoding/translation_model.h"
#include "formats/file.h"
#include "formats/line_reader.h"
#include "text/utf8.h"
#include "view/report.h"
#include "view/sentence.h"

namespace rapt {
namespace {

struct TranslateCommand {
  std::string model;
  std::string input = "-";
  std::string reference;
  std::string attention;
  std::string use_attention;
  Languages languages;
  cli::ComputeOptions compute;
  TranslateOptions translate;
};

std::string format(const Translation& translation, std::int64_t line, const TranslateCommand& options) {
  std::string text = options.translate.nbest > 1
                         ? fmt::format("{} ||| {} ||| {:.6f}", line, translation.text, translation.score)
                         : translation.text;
  if (options.translate.align) {
    text += " |||";
    for (const AlignedWords& pair : translation.alignment) text += fmt::format(" {}-{}", pair.source, pair.target);
  }
  return text + "\n";
}

/// Collects the sentences of the attention page.
class AttentionPage {
 public:
  AttentionPage(decoding::TranslationModel& model, const TranslateCommand& options)
      : model_(model), file_(options.attention) {
    report_.model_name = std::filesystem::path(options.model).lexically_normal().filename().string();
    if (report_.model_name.empty()) report_.model_name = options.model;
    report_.title = "Attention of " + report_.model_name;
    if (!options.reference.empty()) references_.emplace(options.reference);
  }

  void add(const std::string& line, const std::vector<decoding::TranslatedPart>& parts) {
    std::string reference;
    const bool has_reference = references_ && references_->next(reference);
    for (const decoding::TranslatedPart& part : parts) {
      const decoding::Hypothesis& best = part.hypotheses.front();
      const Tokenizer& target = model_.tokenizer().target();
      const auto written = decoding::written_tokens(best);
      if (written.empty()) continue;
      view::Sentence sentence;
      sentence.source = view::pieces_of(model_.tokenizer(), part.source);
      sentence.target = view::pieces_of(target, written);
      sentence.start = view::pieces_of(target, std::vector{model_.decoder_start()}).front();
      sentence.source_text = parts.size() == 1 ? line : model_.tokenizer().decode(part.source);
      sentence.target_text = target.decode(best.tokens);
      if (has_reference && parts.size() == 1) sentence.reference = replace_invalid_utf8(reference);
      sentence.score = best.score;
      view::add_maps(sentence, model_.attention(
                                   part, best, {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross}));
      report_.absent = model_.absent_attention();
      view::add_sentence(report_, std::move(sentence));
    }
  }

  void write() const {
    for (const AbsentAttention& absent : report_.absent) {
      cli::warn("{}: {} layer {} is not shown: {}", file_, name_of(absent.kind), absent.layer, absent.reason);
    }
    write_file_durably(file_, view::attention_page(report_));
    cli::warn("{}: attention of {} sentences{}", file_, report_.sentences.size(),
              report_.omitted > 0 ? fmt::format(", {} more did not fit", report_.omitted) : "");
  }

 private:
  decoding::TranslationModel& model_;
  std::string file_;
  view::Report report_;
  std::optional<LineReader> references_;
};

void run(const TranslateCommand& options) {
  cli::require_nbest(options.translate.nbest, options.translate.beam);
  decoding::TranslationModel model(options.model, {.threads = options.compute.threads,
                                                   .precision = options.compute.precision,
                                                   .attention = options.use_attention,
                                                   .source_language = options.languages.source,
                                                   .target_language = options.languages.target});
  std::optional<AttentionPage> page;
  if (!options.attention.empty()) page.emplace(model, options);

  cli::Input input(options.input);
  cli::ProgressLine progress("lines");
  std::int64_t line = 0;
  for (std::vector<std::string> lines = input.next_lines(); !lines.empty(); lines = input.next_lines()) {
    const auto before = static_cast<double>(line);
    const decoding::TranslationObserver observer{
        .on_parts =
            [&](std::size_t index, std::size_t parts) {
              cli::warn("line {} is longer than the model reads at once: translated in {} parts",
                        line + static_cast<std::int64_t>(index) + 1, parts);
            },
        .on_progress =
            [&](double part) {
              progress.show(before + part * static_cast<double>(lines.size()), input.expected_lines());
            },
        .first_line = line + 1};
    const auto translated = model.translate(lines, options.translate, observer);
    for (std::size_t i = 0; i < lines.size(); ++i, ++line) {
      for (const Translation& translation : model.join(translated[i], options.translate))
        cli::print(format(translation, line, options));
      if (page) page->add(lines[i], translated[i]);
    }
    cli::flush();
  }
  if (page) page->write();
}

}  // namespace

void add_translate(CLI::App& app) {
  auto options = std::make_shared<TranslateCommand>();
  CLI::App* command = app.add_subcommand("translate", "translate lines of text with an encoder-decoder model");
  cli::add_model_option(*command, options->model)->required();
  command->footer(
      "\nExamples:\n"
      "  rapt translate en-de < source.en > target.de\n"
      "  rapt translate NLLB --source-language eng_Latn --target-language deu_Latn\n"
      "  rapt translate en-de --attention page.html < source.en");
  command->add_option("--input", options->input, "lines to translate, plain or gzip (default: standard input)")
      ->type_name("FILE");
  cli::add_language_options(*command, options->languages);
  cli::add_search_options(*command, options->translate);
  command
      ->add_option("--nbest", options->translate.nbest,
                   "print this many translations a line, as \"line ||| translation ||| score\"")
      ->capture_default_str()
      ->check(cli::between(1, 1024));
  command->add_option("--prefix", options->translate.prefix, "what translations are made to begin with")
      ->type_name("TEXT");
  command->add_flag("--align", options->translate.align,
                    "append \" ||| \" and the aligned words as source-target pairs, from cross-attention");
  command
      ->add_option("--align-layer", options->translate.align_layer,
                   "decoder layer that aligns (default: the last but one)")
      ->type_name("LAYER");
  cli::add_output_option(*command, "--attention", options->attention,
                         "write a page that shows what the model attended to", "FILE.html");
  command->add_option("--reference", options->reference, "translations to show on the page beside the model's")
      ->type_name("FILE");
  cli::add_attention_option(*command, options->use_attention);
  cli::add_compute_options(*command, options->compute);
  command->callback([options] { run(*options); });
}

}  // namespace rapt
