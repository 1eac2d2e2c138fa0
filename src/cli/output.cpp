#include "cli/output.h"

#include <cerrno>
#include <cstring>
#include <map>

#include "core/error.h"

namespace rapt::cli {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    fail("standard output: {}", std::strerror(errno));
}

void flush() {
  if (std::fflush(stdout) != 0) fail("standard output: {}", std::strerror(errno));
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  static const std::map<std::string, Precision> precisions{{"f32", Precision::f32}, {"bf16", Precision::bf16}};
  command.add_option("--threads", options.threads, "0: as many as the process may use")->check(CLI::Range(0, 1024));
  command.add_option("--precision", options.precision, "of activations and products: f32 (default) or bf16")
      ->transform(CLI::CheckedTransformer(precisions).description("f32|bf16"));
}

}  // namespace rapt::cli
