#include "cli/writing_options.h"

#include <fmt/format.h>

#include "cli/command_line.h"
#include "cli/output.h"

namespace rapt::cli {

void add_sampling_options(CLI::App& command, GenerateOptions& options, std::string_view otherwise) {
  SamplingChoices& sampling = options.sampling;
  const auto add = [&](const char* name, auto& value, std::string_view help) {
    return command.add_option(name, value, std::string(help))
        ->group("Sampling (default: the model's generation_config.json)");
  };
  add("--temperature", sampling.temperature,
      fmt::format("logits are divided by it; 0: always the likeliest token (else: {})", otherwise))
      ->check(between(0.0));
  add("--top-k", sampling.top_k, "draw from the k likeliest tokens; 0: from all")->check(between(0));
  add("--top-p", sampling.top_p, "draw from the likeliest tokens that have this much of the probability together")
      ->check(above_zero(1));
  add("--min-p", sampling.min_p, "draw from tokens at least this many times as likely as the likeliest")
      ->check(between(0.0, 1.0));
  add("--repetition-penalty", sampling.repetition_penalty, "over 1: makes tokens that were used less likely")
      ->check(above_zero());
  command.add_option("--seed", options.seed, "of what is drawn: the same seed gives the same text")
      ->capture_default_str()
      ->check(between<std::uint64_t>(0))
      ->group("Sampling (default: the model's generation_config.json)");
}

void add_cache_option(CLI::App& command, GeneratorOptions& options) {
  command
      .add_option("--cache", options.cache,
                  "of the keys and values that are kept of a text; bf16 takes half of the memory (default: as "
                  "--precision)")
      ->transform(choice(precisions()));
}

void warn_of_ignored(const std::string& model, const decoding::GenerationConfig& config) {
  if (config.ignored.empty()) return;
  warn("{}: its generation settings ask for {}, which rapt does not do", model, fmt::join(config.ignored, ", "));
}

}  // namespace rapt::cli
