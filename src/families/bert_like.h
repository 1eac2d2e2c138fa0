/// What the encoders that descend from BERT share: post-norm, learned positions, a norm of the embeddings, and heads
/// that a checkpoint may hold or not.
#pragma once

#include "families/family.h"

namespace rapt::bert_like {

/// The defaults that the code of transformers gives all of them.
ModelConfig defaults(std::string_view family);
/// Keys of BERT and RoBERTa but for max_position_embeddings.
std::vector<ConfigField> fields();
std::vector<ConfigConstant> constants();
/// The encoder's tensors under `prefix` ("bert.").
std::vector<TensorRule> tensors(std::string_view prefix);
std::vector<std::string_view> ignored_tensors(std::string_view prefix);
/// What BERT and RoBERTa do alike besides.
void read(const JsonObject& json, ModelConfig& config);
void write(const ModelConfig& config, OrderedJson& json);

/// Whether a file has a tensor whose name ends so.
bool has(const CheckpointTensors& tensors, std::string_view ending);

}  // namespace rapt::bert_like
