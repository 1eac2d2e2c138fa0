/// A Hugging Face directory whose model is trained further: read, and written back in the same form. A GGUF file is
/// written as the directory that it stands for.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "families/tensors.h"
#include "formats/directory.h"
#include "model/attention_rules.h"

namespace rapt {

/// What a directory holds besides the numbers of its model.
class ModelDirectory {
 public:
  /// Reads the files beside the weights, and those in the directories that a sentence encoder's modules.json names.
  /// Of a GGUF file, makes config.json and generation_config.json; those of its tokenizer are to be added. Throws Error
  /// for what cannot be read. `config` and `account`: of its model and weights.
  ModelDirectory(const std::filesystem::path& model, const ModelConfig& config, TensorAccount account);

  /// Adds files, by name, beside the weights.
  void add_files(const std::map<std::string, std::string>& files);

  /// Adds the directory to a checkpoint with the numbers of `model`: config.json and every other file that was beside
  /// the weights byte for byte (how layers attend is added to config.json where that was changed), and
  /// model.safetensors, one file, with the tensors that were there, under their names and in their types, rounded to
  /// the nearest (f32 for what a GGUF file has in blocks). Throws Error, naming the tensor, for a number that has
  /// become too large for its f16.
  void write(const Transformer& model, DirectoryWriter& writer) const;

  /// Whether what write() writes has every bit of the model: all tensors are f32.
  bool exact() const;
  /// The names of the files beside the weights.
  std::vector<std::string> files() const;
  /// "f16", or "bf16 and f32": the types of the weights.
  std::string types() const;
  /// Gates that the directory lacks, and those that it has without need: write() adds these, in f32, and leaves those
  /// out.
  const std::vector<std::string>& fresh() const { return account_.fresh; }
  const std::vector<std::string>& unused() const { return account_.unused; }

 private:
  std::map<std::string, std::string> files_;  ///< by name
  TensorAccount account_;
};

/// A model that is trained further, in f32, with its directory.
struct ModelInDirectory {
  std::unique_ptr<Transformer> model;
  ModelDirectory directory;
};

/// Throws Error, saying what to give instead, for what is neither a directory nor a file.
void require_model(const std::filesystem::path& model);

/// Reads a model as load_accounted_model does. Throws Error for what is neither a directory nor a file, too.
ModelInDirectory load_model_directory(const std::filesystem::path& path,
                                      const std::vector<AttentionRule>& attention = {}, std::uint64_t seed = 1);

}  // namespace rapt
