/// config.json: a model's config in the words of its family.
#pragma once

#include <string>

#include "formats/json.h"
#include "model/config.h"

namespace rapt {

/// Reads a config.json of any family. Every key is understood, known to be irrelevant, or refused: throws Error naming
/// the key.
ModelConfig read_config(const JsonObject& json);

/// config.json, generation_config.json as transformers reads them.
std::string config_text(const ModelConfig& config);
/// `text`, the config.json that `config` was read from, as it is; with how layers attend, if that was changed since.
std::string config_text(const ModelConfig& config, const std::string& text);
std::string generation_config_text(const ModelConfig& config);

}  // namespace rapt
