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

namespace rapt {
namespace {

struct Total {
  std::size_t tensors = 0;
  std::size_t bytes = 0;
};

std::string text_of(const Total& total) {
  return fmt::format("{} tensors, {:.1f} MB on disk", total.tensors, static_cast<double>(total.bytes) / 1e6);
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
  cli::print(fmt::format("parameters  {} in {}\n", parameters, text_of(all)));
  for (const auto& [type, total] : types) cli::print(fmt::format("  {:<8}  {}\n", type, text_of(total)));
}

void print_tensors(const Gguf& file) {
  for (const auto& [name, tensor] : file.tensors()) {
    cli::print(fmt::format("{:<64} {:<8} {}\n", std::string(printable(name)), tensor.type->name, tensor.shape));
  }
}

/// What `reading` gives, or why it cannot be read, which is no fault of the file.
template <typename Reading>
std::string outcome_of(Reading reading) {
  try {
    return reading();
  } catch (const Error& error) {
    return fmt::format("rapt does not read it: {}", error.what());
  }
}

/// Whether the commands that compute and those that read text could use the file.
void print_readings(const Gguf& file, const std::filesystem::path& path) {
  cli::print(fmt::format("model       {}\n", outcome_of([&] {
                           const std::string family(map_model(path)->config().family);
                           return fmt::format("{}; every key and tensor of it is understood", family);
                         })));
  if (!file.contains("tokenizer.ggml.tokens")) return;
  cli::print(fmt::format("tokenizer   {}\n", outcome_of([&] {
                           return fmt::format("{} tokens ({}); every key of it is understood",
                                              gguf_tokenizer(file)->vocab_size(),
                                              printable(file.text("tokenizer.ggml.model")));
                         })));
}

void verify(const Gguf& file, const std::filesystem::path& path) {
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
  print_readings(file, path);
}

}  // namespace

void inspect_gguf(const std::filesystem::path& path, const InspectGgufOptions& options) {
  const Gguf file = read_gguf(path);
  print_metadata(file);
  print_totals(file);
  if (options.tensors) print_tensors(file);
  if (options.verify) verify(file, path);
  cli::flush();
}

}  // namespace rapt
