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

AccountedModel read_model(const std::filesystem::path& path, DType dtype, const std::vector<AttentionRule>& attention,
                          FillOptions options) {
  const ModelConfig before = read_config(path);
  ModelConfig config = before;
  choose_attention(attention, config);
  options.before = &before;
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
  result.account = fill(*result.model, tensors, file, options);
  return result;
}

}  // namespace

std::unique_ptr<Transformer> load_model(const std::filesystem::path& directory, DType dtype,
                                        const std::vector<AttentionRule>& attention) {
  return read_model(directory, dtype, attention, {}).model;
}

AccountedModel load_accounted_model(const std::filesystem::path& directory, const std::vector<AttentionRule>& attention,
                                    std::uint64_t seed) {
  return read_model(directory, DType::f32, attention, {.seed = seed});
}

std::unique_ptr<Transformer> map_model(const std::filesystem::path& directory,
                                       const std::vector<AttentionRule>& attention) {
  return read_model(directory, DType::f32, attention, {.filling = Filling::mapped}).model;
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
  account.tensors = read_model(directory, DType::f32, {}, {.filling = Filling::mapped}).account;
  return account;
}

void write_model(const Transformer& model, DirectoryWriter& writer) {
  writer.add_file("config.json", config_text(model.config()));
  writer.add_file("generation_config.json", generation_config_text(model.config()));
  writer.add_file("model.safetensors", [&](OutputFile& file) { write_safetensors(file, checkpoint_tensors(model)); });
}

void fill_parameters(Transformer& model, const std::map<std::string, Tensor>& tensors, const std::string& file) {
  fill(model, {tensors.begin(), tensors.end()}, {.name = file}, {});
}

}  // namespace rapt
