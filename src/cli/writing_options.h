/// Options of the subcommands that write with a language model.
#pragma once

#include <CLI/CLI.hpp>

#include "decoding/language_model.h"

namespace rapt::cli {

/// --temperature, --top-k, --top-p, --min-p, --repetition-penalty and --seed. `otherwise`: what holds where neither the
/// command nor the model says anything.
void add_sampling_options(CLI::App& command, GenerateOptions& options, std::string_view otherwise);

/// --cache: the type of cached keys and values.
void add_cache_option(CLI::App& command, GeneratorOptions& options);

/// Warns of what the model's generation_config.json asks for and rapt does not do.
void warn_of_ignored(const std::string& model, const decoding::GenerationConfig& config);

}  // namespace rapt::cli
