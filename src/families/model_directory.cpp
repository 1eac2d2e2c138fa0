#include "families/model_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "families/checkpoint.h"
#include "families/gguf.h"
#include "formats/file.h"
#include "formats/gguf.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_file_bytes = std::size_t{1} << 28;
constexpr std::string_view config_name = "config.json";

/// Weights, of this model as it was before, in the formats of all frameworks.
constexpr std::string_view weight_endings[] = {".safetensors", ".bin",     ".pt",     ".pth",     ".ckpt",
                                               ".h5",          ".msgpack", ".ot",     ".onnx",    ".gguf",
                                               ".index.json",  ".npz",     ".tflite", ".mlmodel", ".pkl"};
/// What rapt writes beside a model while it trains.
constexpr std::string_view training_files[] = {manifest_name, "training.json", "train.jsonl"};

bool belongs_to_model(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename();
  return entry.is_regular_file() && !name.starts_with('.') &&
         std::ranges::none_of(weight_endings, [&](std::string_view ending) { return name.ends_with(ending); }) &&
         std::ranges::find(training_files, name) == std::end(training_files);
}

/// The directories that modules.json, of a sentence encoder, names: poolings and layers behind the model.
std::vector<std::string> module_directories(const fs::path& directory) {
  std::vector<std::string> names;
  if (!fs::exists(directory / "modules.json")) return names;
  for (const Json& module : read_json(directory / "modules.json")) {
    const bool named = module.is_object() && module.contains("path") && module["path"].is_string();
    const std::string name = named ? module["path"].get<std::string>() : "";
    if (is_plain_name(name) && fs::is_directory(directory / name)) names.push_back(name);
  }
  return names;
}

std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const std::string& name : module_directories(directory)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(directory / name)) {
      const std::string file = entry.path().filename();
      if (entry.is_regular_file() && !file.starts_with('.'))
        files.emplace(name + "/" + file, read_file(entry.path(), max_file_bytes));
    }
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (belongs_to_model(entry)) files.emplace(entry.path().filename(), read_file(entry.path(), max_file_bytes));
  }
  return files;
}

/// What a GGUF file says of its model, in the files of a directory.
std::map<std::string, std::string> files_of_gguf(const fs::path& file, const ModelConfig& config) {
  std::map<std::string, std::string> files{{std::string(config_name), config_text(config)}};
  if (!config.encoder_only())
    files.emplace("generation_config.json", json_text(gguf_generation_config(read_gguf(file))));
  return files;
}

/// The numbers of `value` in the type that `stored` had.
Tensor in_stored_type(const Tensor& value, const StoredTensor& stored) {
  if (value.dtype() == stored.dtype) return value;
  Tensor result = value.to(stored.dtype);
  if (stored.dtype != DType::f16) return result;
  const auto too_large = std::ranges::find_if(value.values<float>(), [](float x) { return std::abs(x) >= 65520.0F; });
  require(too_large == value.values<float>().end(),
          "tensor \"{}\" was stored in f16, whose largest number is 65504, and has now {}; lower --learning-rate, or "
          "convert the weights that the run starts from to f32 or bf16",
          stored.name, too_large == value.values<float>().end() ? 0.0F : *too_large);
  return result;
}

}  // namespace

ModelDirectory::ModelDirectory(const fs::path& model, const ModelConfig& config, TensorAccount account)
    : files_(is_gguf(model) ? files_of_gguf(model, config) : files_of(model)), account_(std::move(account)) {
  // Else the whole mapped file would be kept.
  for (StoredTensor& tensor : account_.stored) {
    if (tensor.constant.defined()) tensor.constant = tensor.constant.clone();
  }
}

void ModelDirectory::add_files(const std::map<std::string, std::string>& files) {
  files_.insert(files.begin(), files.end());
}

void ModelDirectory::write(const Transformer& model, DirectoryWriter& writer) const {
  for (const auto& [name, contents] : files_)
    writer.add_file(name, name == config_name ? config_text(model.config(), contents) : contents);
  std::map<std::string, Tensor> values;
  for (auto& [name, tensor] : checkpoint_tensors(model)) values.emplace(name, tensor);
  std::vector<NamedTensor> tensors;
  for (const StoredTensor& stored : account_.stored) {
    tensors.emplace_back(stored.name,
                         stored.holds.empty() ? stored.constant : in_stored_type(values.at(stored.holds), stored));
  }
  writer.add_file("model.safetensors", [&](OutputFile& file) { write_safetensors(file, tensors); });
}

bool ModelDirectory::exact() const {
  return std::ranges::all_of(
      account_.stored, [](const StoredTensor& stored) { return stored.holds.empty() || stored.dtype == DType::f32; });
}

std::vector<std::string> ModelDirectory::files() const {
  std::vector<std::string> names;
  for (const auto& [name, contents] : files_) names.push_back(name);
  return names;
}

std::string ModelDirectory::types() const {
  std::set<std::string_view> types;
  for (const StoredTensor& stored : account_.stored) {
    if (!stored.holds.empty()) types.insert(name_of(stored.dtype));
  }
  return fmt::format("{}", fmt::join(types, " and "));
}

void require_model(const fs::path& model) {
  require(is_gguf(model) || fs::is_directory(model),
          "{}: is no model; give a directory with config.json, model.safetensors and a tokenizer, or a GGUF file",
          model.string());
}

ModelInDirectory load_model_directory(const fs::path& path, const std::vector<AttentionRule>& attention,
                                      std::uint64_t seed) {
  require_model(path);
  AccountedModel loaded = load_accounted_model(path, attention, seed);
  ModelDirectory directory(path, loaded.model->config(), std::move(loaded.account));
  return {.model = std::move(loaded.model), .directory = std::move(directory)};
}

}  // namespace rapt
