#include "cli/output.h"

#include <cerrno>
#include <cstring>
#include <map>

#include "core/error.h"
#include "formats/file.h"
#include "rapt/hub.h"

namespace rapt::cli {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    fail("standard output: {}", std::strerror(errno));
}

void flush() {
  if (std::fflush(stdout) != 0) fail("standard output: {}", std::strerror(errno));
}

CLI::Option* add_model_option(CLI::App& command, std::string& path) {
  const CLI::Validator find(
      [](std::string& model) {
        model = find_model(model).string();
        return std::string();
      },
      "");
  return command.add_option("model", path, "directory of the model, a .gguf file, or a name that rapt pull lists")
      ->transform(find)
      ->type_name("MODEL");
}

CLI::Option* add_output_option(CLI::App& command, const std::string& name, std::string& path, const std::string& help,
                               const char* kind) {
  const CLI::Validator writable(
      [](const std::string& file) {
        require_writable(file);
        return std::string();
      },
      "");
  return command.add_option(name, path, help)->check(writable)->type_name(kind);
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  static const std::map<std::string, Precision> precisions{{"f32", Precision::f32}, {"bf16", Precision::bf16}};
  command.add_option("--threads", options.threads, "0: as many as the process may use")->check(CLI::Range(0, 1024));
  command
      .add_option("--precision", options.precision,
                  fmt::format("of activations and products: f32 or bf16 (default: {})",
                              options.precision == Precision::f32 ? "f32" : "bf16"))
      ->transform(CLI::CheckedTransformer(precisions).description("f32|bf16"));
}

void add_attention_option(CLI::App& command, std::string& rules) {
  command
      .add_option(
          "--use-attention", rules,
          "how layers attend, in place of what the model says, as in rapt train --attention: \"window(255, 0)\", "
          "\"encoder = linear elu; cross.0-1 = prefix(64)\"")
      ->type_name("RULES");
}

void add_language_options(CLI::App& command, Languages& languages) {
  command
      .add_option("--source-language", languages.source,
                  "of the texts, as the tokenizer writes it: en_XX (mBART), en (M2M-100), eng_Latn (NLLB)")
      ->type_name("NAME");
  command
      .add_option("--target-language", languages.target,
                  "to translate into: translations begin with its token (default: as the model's files say)")
      ->type_name("NAME");
}

void add_length_penalty_options(CLI::App& command, LengthPenalty& penalty, std::optional<double>& alpha,
                                std::string_view default_penalty) {
  static const std::map<std::string, LengthPenalty> penalties{{"paper", LengthPenalty::paper},
                                                              {"average", LengthPenalty::average}};
  command
      .add_option("--length-penalty", penalty,
                  fmt::format("what log-probabilities are divided by: ((5 + length) / 6)^alpha (paper) or length^alpha "
                              "(average) (default: {})",
                              default_penalty))
      ->transform(CLI::CheckedTransformer(penalties).description("paper|average"));
  command.add_option("--alpha", alpha, "of the length penalty (default: 0.6 for paper, 1 for average)");
}

void add_search_options(CLI::App& command, TranslateOptions& options) {
  command.add_option("--beam", options.beam, "hypotheses kept while searching; 1: greedy")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  add_length_penalty_options(command, options.length_penalty, options.alpha, "paper");
  command.add_option("--repetition-penalty", options.repetition_penalty,
                     "over 1: makes tokens that a translation holds less likely (default: the model's "
                     "generation_config.json)");
  command.add_option("--batch-tokens", options.batch_tokens, "source tokens translated at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
}

}  // namespace rapt::cli
