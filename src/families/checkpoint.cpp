#include "families/checkpoint.h"

#include <algorithm>

#include "families/family.h"
#include "families/gguf.h"
#include "families/tensors.h"

namespace rapt {

ModelConfig read_config(const std::filesystem::path& model) {
  if (is_gguf(model)) return gguf_config(read_gguf(model));
  return read_config(JsonObject::read(model / "config.json"));
}

namespace {

AccountedModel read_model(ModelConfig config, const std::filesystem::path& path, DType dtype, Filling filling) {
  CheckpointTensors tensors;
  TensorFile file;
  if (is_gguf(path)) {
    const auto gguf = std::make_shared<const Gguf>(read_gguf(path));
    tensors = gguf_tensors(gguf);
    file = {.name = gguf->file(), .config = "the metadata", .name_of = [gguf](const std::string& name) {
              return gguf_tensor_name(*gguf, name);
            }};
  } else {
    for (const auto& [name, tensor] : read_safetensors_directory(path).tensors) tensors.emplace(name, tensor);
    file.name = (path / "model.safetensors").string();
  }
  if (const auto detect = find_family(config.family).detect; detect != nullptr) detect(tensors, config);
  AccountedModel result{.model = std::make_unique<Transformer>(config, dtype), .account = {}};
  result.account = fill(*result.model, tensors, file, filling);
  return result;
}

ModelConfig config_with(const std::filesystem::path& directory, const std::vector<AttentionRule>& attention) {
  ModelConfig config = read_config(directory);
  choose_attention(attention, config);
  return config;
}

}  // namespace

std::unique_ptr<Transformer> load_model(const std::filesystem::path& directory, DType dtype,
                                        const std::vector<AttentionRule>& attention) {
  return read_model(config_with(directory, attention), directory, dtype, Filling::copied).model;
}

AccountedModel load_accounted_model(const std::filesystem::path& directory,
                                    const std::vector<AttentionRule>& attention) {
  return read_model(config_with(directory, attention), directory, DType::f32, Filling::copied);
}

std::unique_ptr<Transformer> map_model(const std::filesystem::path& directory,
                                       const std::vector<AttentionRule>& attention) {
  return read_model(config_with(directory, attention), directory, DType::f32, Filling::mapped).model;
}

CheckpointAccount account_for(const std::filesystem::path& directory) {
  const JsonObject json = JsonObject::read(directory / "config.json");
  const ModelConfig config = read_config(json);
  CheckpointAccount account;
  const auto& irrelevant = find_family(config.family).irrelevant;
  for (const std::string& key : json.keys()) {
    const bool known = std::ranges::find(irrelevant, key) != irrelevant.end();
    (known ? account.irrelevant_keys : account.understood_keys).push_back(key);
  }
  account.tensors = read_model(config, directory, DType::f32, Filling::mapped).account;
  return account;
}

void write_model(const Transformer& model, DirectoryWriter& writer) {
  writer.add_file("config.json", config_text(model.config()));
  writer.add_file("generation_config.json", generation_config_text(model.config()));
  writer.add_file("model.safetensors", [&](OutputFile& file) { write_safetensors(file, checkpoint_tensors(model)); });
}

void fill_parameters(Transformer& model, const std::map<std::string, Tensor>& tensors, const std::string& file) {
  fill(model, {tensors.begin(), tensors.end()}, {.name = file}, Filling::copied);
}

}  // namespace rapt
