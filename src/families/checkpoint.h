/// Models as Hugging Face directories, config.json and model.safetensors, or as GGUF files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "families/config.h"
#include "families/tensors.h"
#include "formats/directory.h"
#include "formats/safetensors.h"
#include "model/attention_rules.h"
#include "model/transformer.h"

namespace rapt {

/// Reads the config of a directory or a GGUF file. Every key is understood, known to be irrelevant, or refused: throws
/// Error naming the key.
ModelConfig read_config(const std::filesystem::path& model);

/// Reads a model: config.json, and model.safetensors or its shards, with f32, f16 and bf16 weights; or a GGUF file.
/// Every tensor of the file is used exactly once and every parameter is filled: throws Error naming the tensor, its
/// shape and what config.json asks for.
/// `attention` changes how layers attend: the same weights, another computation. Where the gated delta rule is chosen,
/// the file must have its gates; where something else is chosen in its place, its gates may be there.
std::unique_ptr<Transformer> load_model(const std::filesystem::path& model, DType dtype = DType::f32,
                                        const std::vector<AttentionRule>& attention = {});

/// The same with what became of each tensor of the file, to be trained further: gates of the gated delta rule that
/// `attention` asks for and the file lacks are initialised from the seed.
struct AccountedModel {
  std::unique_ptr<Transformer> model;
  TensorAccount account;
};
AccountedModel load_accounted_model(const std::filesystem::path& model, const std::vector<AttentionRule>& attention,
                                    std::uint64_t seed);

/// The same for a model that is run and not trained: its weights stay in the mapped file, are packed when they are
/// first multiplied by, and take memory once, in the type computed with. (What is stored in f16 or has to be transposed
/// is copied to f32.)
std::unique_ptr<Transformer> map_model(const std::filesystem::path& model,
                                       const std::vector<AttentionRule>& attention = {});

/// What became of every key of config.json and every tensor. Throws Error as load_model does for those that nothing
/// accounts for.
struct CheckpointAccount {
  std::vector<std::string> understood_keys;
  std::vector<std::string> irrelevant_keys;
  TensorAccount tensors;
};
CheckpointAccount account_for(const std::filesystem::path& directory);

/// Adds config.json, generation_config.json and model.safetensors (f32) to a checkpoint directory.
void write_model(const Transformer& model, DirectoryWriter& writer);

/// Fills the parameters from tensors under checkpoint names.
void fill_parameters(Transformer& model, const std::map<std::string, Tensor>& tensors, const std::string& file);

}  // namespace rapt
