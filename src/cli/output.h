/// What the subcommands share: standard output, standard error, and options that several have.
#pragma once

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "rapt/precision.h"
#include "rapt/translator.h"
#include "text/text_frame.h"

namespace rapt::cli {

/// Writes to standard output; throws Error when that fails (a full disk, say).
void print(std::string_view text);
/// Sends what print() wrote on its way; throws Error when that fails.
void flush();

/// Opens those of the three standard streams that the process was started without, so that no file that is opened later
/// takes the place of one and gets what is written for it. Using them fails as before.
void open_standard_streams();

/// Writes to standard error. Where that fails (a full disk, a reader that has left) nothing is said: no work is lost
/// for the sake of a message.
void say(std::string_view text);

/// A line of the terminal that standard error is, cut to its width, which the next one and whatever print() and warn()
/// write takes the place of. Nothing happens where it is no terminal.
void show_live_line(std::string_view text);
void erase_live_line();

/// A line on standard error that begins with "rapt: ".
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  erase_live_line();
  say(fmt::format("rapt: {}\n", fmt::format(format, std::forward<Args>(args)...)));
}

/// "93 MB"; less than 10 MB with more digits, "0.022 MB".
std::string megabytes(std::uint64_t bytes);

/// How wide the terminal is that standard error goes to; nothing where it is none.
std::optional<int> terminal_columns();

/// The argument MODEL: a directory, a GGUF file, or the name of a model that `rapt pull` has fetched; `path` becomes
/// the path of any of them.
CLI::Option* add_model_option(CLI::App& command, std::string& path);
/// Makes an option's value such a path.
CLI::Validator model_path();

/// An option that names a file to write. One that cannot be written is refused when the command line is read, before
/// any work.
CLI::Option* add_output_option(CLI::App& command, const std::string& name, std::string& path, const std::string& help,
                               const char* kind = "FILE");

/// The names of precisions on the command line.
const std::map<std::string, Precision>& precisions();

/// --threads and --precision.
struct ComputeOptions {
  int threads = 0;
  Precision precision = Precision::f32;
};
void add_compute_options(CLI::App& command, ComputeOptions& options);

/// --use-attention: how layers attend, in place of what the model's directory says.
void add_attention_option(CLI::App& command, std::string& rules);
/// --source-language and --target-language.
void add_language_options(CLI::App& command, Languages& languages);
/// --length-penalty and --alpha.
void add_length_penalty_options(CLI::App& command, LengthPenalty& penalty, std::optional<double>& alpha,
                                std::string_view default_penalty);
/// --beam, --length-penalty, --alpha, --repetition-penalty and --batch-tokens.
void add_search_options(CLI::App& command, TranslateOptions& options);

}  // namespace rapt::cli
