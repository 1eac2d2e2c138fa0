/// What MarianMT shares with the other encoder-decoders that descend from BART's code in transformers.
#pragma once

#include "families/family.h"

namespace rapt::bart_like {

std::vector<ConfigField> fields();
std::vector<ConfigConstant> constants();
std::vector<std::string_view> irrelevant();
void read(const JsonObject& json, ModelConfig& config);
void write(const ModelConfig& config, OrderedJson& json);
std::vector<TensorRule> tensors();
std::vector<std::pair<std::string_view, std::string_view>> copies();

}  // namespace rapt::bart_like
