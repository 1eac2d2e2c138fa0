#include "cli/inspect_gguf.h"

#include <fmt/format.h>

#include <map>
#include <string>

#include "cli/output.h"
#include "core/error.h"
#include "families/checkpoint.h"
#include "formats/gguf_model.h"
#include "formats/printable.h"
#include "formats/safetensors.h"
#include "text/gguf_tokenizer.h"
#include "training/progress.h"

namespace rapt {
namespace {

struct Total {
  std::size_t tensors = 0;
  std::size_t bytes = 0;
};

std::string text_of(const Total& total) {
  return fmt::format("{} tensors, {} on disk", total.tensors, cli::megabytes(total.bytes));
}

void print_metadata(const Gguf& file) {
  for (const auto& [key, value] : file.metadata()) {
    cli::print(fmt::format("{:<44} {}{:<7} {}\n", std::string(printable(key)), value.length ? "[]" : "  ",
                           name_of(value.type), value.shown()));
  }
}

void print_totals(const Gguf& file) {
  std::int64_t parameters = 0;
  Total all;
  std::map<std::string_view, Total> types;
  for (const auto& [name, tensor] : file.tensors()) {
    parameters += tensor.shape.count();
    for (Total* total : {&all, &types[tensor.type->name]}) {
      ++total->tensors;
      total->bytes += tensor.bytes.size();
    }
  }
  cli::print(fmt::format("parameters  {} in {}\n", training::grouped(parameters), text_of(all)));
  for (const auto& [type, total] : types) cli::print(fmt::format("  {:<8}  {}\n", type, text_of(total)));
}

/// What the model is, if rapt runs such.
void print_description(const std::filesystem::path& path, const InspectGgufOptions& options) {
  try {
    cli::print(options.describe(*map_model(path)));
  } catch (const Error& error) {
    cli::print(fmt::format("family      none that rapt runs: {}\n", error.what()));
  }
}

void print_tensors(const Gguf& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    cli::print(fmt::format("{:<64} {:<8} {}\n", std::string(printable(name)), tensor.type->name, tensor.shape));
  }
}

/// Whether the commands that read text could use the file.
void print_tokenizer(const Gguf& file) {
  if (!file.contains("tokenizer.ggml.tokens")) return;
  try {
    cli::print(fmt::format("tokenizer   {} tokens ({}); every key of it is understood\n",
                           gguf_tokenizer(file)->vocab_size(), printable(file.text("tokenizer.ggml.model"))));
  } catch (const Error& error) {
    cli::print(fmt::format("tokenizer   none that rapt reads: {}\n", error.what()));
  }
}

void verify(const Gguf& file) {
  const GgufArchitecture architecture = read_architecture(file);
  const auto vocabulary = read_vocabulary(file);
  std::size_t damaged = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    for (const NonFinite& found : find_non_finite({{printable(name), file.load(name)}})) {
      cli::print(fmt::format("{}: {} elements are not finite\n", found.name, found.count));
      ++damaged;
    }
  }
  cli::flush();
  require(damaged == 0, "{}: {} tensors hold NaN or infinity; the weights are damaged, fetch them again", file.file(),
          damaged);
  cli::print(fmt::format(
      "verified    the sizes of {} fit each other and the tensors, all weights are finite; {}\n",
      printable(architecture.name),
      vocabulary ? fmt::format("vocabulary of {} tokens ({})", vocabulary->tokens.size(), printable(vocabulary->model))
                 : "no vocabulary"));
  print_tokenizer(file);
}

}  // namespace

void inspect_gguf(const std::filesystem::path& path, const InspectGgufOptions& options) {
  const Gguf file = read_gguf(path);
  print_metadata(file);
  print_description(path, options);
  print_totals(file);
  if (options.tensors) print_tensors(file);
  if (options.verify) verify(file);
  cli::flush();
}

}  // namespace rapt
