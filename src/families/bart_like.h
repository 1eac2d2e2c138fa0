/// What the encoder-decoders that descend from BART's code in transformers share.
#pragma once

#include "families/family.h"

namespace rapt::bart_like {

std::vector<ConfigField> fields();
std::vector<ConfigConstant> constants();
std::vector<std::string_view> irrelevant();
void read(const JsonObject& json, ModelConfig& config);
void write(const ModelConfig& config, OrderedJson& json);
/// The same for models whose source and target always share their embedding.
void read_shared(const JsonObject& json, ModelConfig& config);
void write_shared(const ModelConfig& config, OrderedJson& json);
/// Whether the logits have a bias.
void detect(const std::map<std::string, Tensor>& tensors, ModelConfig& config);
std::vector<TensorRule> tensors();
/// Tables of positions and the norms of the embeddings.
std::vector<TensorRule> embedding_tensors();
/// The norms behind the stacks of pre-norm models.
std::vector<TensorRule> last_norm_tensors();
std::vector<std::pair<std::string_view, std::string_view>> copies();

}  // namespace rapt::bart_like
