/// Models as Hugging Face directories, config.json and model.safetensors, or as GGUF files.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "families/family.h"
#include "formats/directory.h"
#include "formats/safetensors.h"
#include "model/attention_rules.h"
#include "model/transformer.h"

namespace rapt {

/// Reads the config of a directory or a GGUF file. Every key is understood, known to be irrelevant, or refused: throws
/// Error naming the key.
ModelConfig read_config(const std::filesystem::path& model);
/// The same of a config.json that is read already.
ModelConfig read_config(const JsonObject& json);

/// Reads a model: config.json, and model.safetensors or its shards, with f32, f16 and bf16 weights; or a GGUF file.
/// Every tensor of the file is used exactly once and every parameter is filled: throws Error naming the tensor, its
/// shape and what config.json asks for.
/// `attention` changes how layers attend: the same weights, another computation.
std::unique_ptr<Transformer> load_model(const std::filesystem::path& model, DType dtype = DType::f32,
                                        const std::vector<AttentionRule>& attention = {});

/// The same for a model that is run and not trained: its weights stay in the mapped file, are packed when they are
/// first multiplied by, and take memory once, in the type computed with. (Embeddings that are stored in 16 bits, and
/// what has to be transposed, are copied to f32.)
std::unique_ptr<Transformer> map_model(const std::filesystem::path& model,
                                       const std::vector<AttentionRule>& attention = {});

/// Adds config.json, generation_config.json and model.safetensors (f32) to a checkpoint directory.
void write_model(const Transformer& model, DirectoryWriter& writer);

/// config.json, generation_config.json as transformers reads them.
std::string config_text(const ModelConfig& config);
std::string generation_config_text(const ModelConfig& config);

/// What model.safetensors holds, in f32 (f64 for f64 models). `part` says what to take of each parameter; its value, if
/// not given.
std::vector<NamedTensor> checkpoint_tensors(const Transformer& model,
                                            const std::function<Tensor(const Parameter&)>& part = {});

/// Fills the parameters from tensors under checkpoint names.
void fill_parameters(Transformer& model, const std::map<std::string, Tensor>& tensors, const std::string& file);

}  // namespace rapt
