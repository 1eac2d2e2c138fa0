#include "cli/output.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <vector>

#include "cli/command_line.h"
#include "core/error.h"
#include "formats/file.h"
#include "rapt/hub.h"

namespace rapt::cli {
namespace {

bool live_line_is_shown = false;

/// Throws Error for a directory that holds no model, saying where one may be.
void require_model(const std::filesystem::path& directory) {
  for (const char* file : {"config.json", "modules.json"}) {
    if (std::filesystem::exists(directory / file)) return;
  }
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".gguf") files.push_back(entry.path().string());
  }
  if (!files.empty()) {
    fail("{}: holds no config.json, but {}; give that file", directory.string(), *std::ranges::min_element(files));
  }
  require(!std::filesystem::exists(directory / "snapshots"),
          "{}: is a cache of Hugging Face's hub; give the directory of one revision in {}", directory.string(),
          (directory / "snapshots").string());
  fail("{}: holds no model: config.json is missing", directory.string());
}

}  // namespace

std::string megabytes(std::uint64_t bytes) {
  const double number = static_cast<double>(bytes) / 1e6;
  return fmt::format("{:.{}f} MB", number, number >= 10 ? 0 : number >= 1 ? 1 : 3);
}

std::optional<int> terminal_columns() {
  if (isatty(STDERR_FILENO) == 0) return std::nullopt;
  constexpr int usual = 80;
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : usual;
}

void open_standard_streams() {
  // Opened the wrong way round, so that reading the one and writing the others fail.
  constexpr std::array ways{O_WRONLY, O_RDONLY, O_RDONLY};
  for (int stream = 0; stream < std::ssize(ways); ++stream) {
    if (fcntl(stream, F_GETFD) == -1 && errno == EBADF) open("/dev/null", ways[static_cast<std::size_t>(stream)]);
  }
}

void say(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void show_live_line(std::string_view text) {
  const std::optional<int> columns = terminal_columns();
  if (!columns) return;
  say(fmt::format("\r{}\033[K", text.substr(0, static_cast<std::size_t>(*columns - 1))));
  live_line_is_shown = true;
}

void erase_live_line() {
  if (!live_line_is_shown) return;
  say("\r\033[K");
  live_line_is_shown = false;
}

void print(std::string_view text) {
  erase_live_line();
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    fail("standard output: {}", std::strerror(errno));
}

void flush() {
  if (std::fflush(stdout) != 0) fail("standard output: {}", std::strerror(errno));
}

CLI::Validator model_path() {
  return {[](std::string& model) {
            const std::filesystem::path path = find_model(model);
            if (std::filesystem::is_directory(path)) require_model(path);
            model = path.string();
            return std::string();
          },
          ""};
}

CLI::Option* add_model_option(CLI::App& command, std::string& path) {
  return command.add_option("model", path, "directory of the model, a .gguf file, or a name that rapt pull lists")
      ->transform(model_path())
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

const std::map<std::string, Precision>& precisions() {
  static const std::map<std::string, Precision> names{{"f32", Precision::f32}, {"bf16", Precision::bf16}};
  return names;
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "0: as many as the process may use")
      ->capture_default_str()
      ->check(between(0, 1024));
  command
      .add_option("--precision", options.precision,
                  fmt::format("of activations and products (default: {})",
                              options.precision == Precision::f32 ? "f32" : "bf16"))
      ->transform(choice(precisions()));
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
      ->transform(choice(penalties));
  command.add_option("--alpha", alpha, "of the length penalty (default: 0.6 for paper, 1 for average)");
}

void add_search_options(CLI::App& command, TranslateOptions& options) {
  command.add_option("--beam", options.beam, "hypotheses kept while searching; 1: greedy")
      ->capture_default_str()
      ->check(between(1, 1024));
  add_length_penalty_options(command, options.length_penalty, options.alpha, "paper");
  command.add_option("--repetition-penalty", options.repetition_penalty,
                     "over 1: makes tokens that a translation holds less likely (default: the model's "
                     "generation_config.json)");
  command
      .add_option("--batch-tokens", options.batch_tokens,
                  "source tokens translated at once, fewer where memory is short")
      ->capture_default_str()
      ->check(between(1));
}

}  // namespace rapt::cli
