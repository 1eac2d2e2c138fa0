#include "embedding/modules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "formats/file.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "formats/printable.h"
#include "formats/safetensors.h"
#include "text/tokenizer_files.h"

namespace rapt::embedding {
namespace {

using std::filesystem::path;

constexpr IntegerRange kSize{.min = 1, .max = 1 << 24};

/// An entry of modules.json.
struct Entry {
  std::string kind;  ///< "Pooling"
  path directory;
  JsonObject json;
};

std::vector<Entry> read_entries(const path& directory) {
  const path file = directory / "modules.json";
  const Json list = read_json(file);
  require(list.is_array() && !list.empty(), "{}: expected a list of modules", file.string());
  std::vector<Entry> entries;
  for (const Json& item : list) {
    const JsonObject json = JsonObject::parse(item.dump(), fmt::format("{}, module {}", file.string(), entries.size()));
    const std::string type = json.text("type");
    const std::string place = json.find_text("path").value_or("");
    if (!place.empty() && !is_plain_name(place)) json.refuse("path", "a directory beside modules.json");
    if (!type.starts_with("sentence_transformers.")) json.refuse("type", "a class of sentence_transformers");
    require_empty(json, std::vector<std::string_view>{"kwargs"});
    json.require_all_read(std::vector<std::string_view>{"idx", "name"});
    entries.push_back({type.substr(type.rfind('.') + 1), place.empty() ? directory : directory / place, json});
  }
  return entries;
}

// ---- the encoder

/// What sentence-transformers calls the file for encoders of different families.
constexpr std::string_view kEncoderFiles[] = {"sentence_bert_config.json", "sentence_roberta_config.json",
                                              "sentence_distilbert_config.json", "sentence_xlm-roberta_config.json"};

/// Throws Error unless the key is absent or has the value.
void require_value(const JsonObject& json, std::string_view key, const Json& value) {
  const Json& found = json.value(key);
  if (!found.is_null() && found != value) json.refuse(key, value.dump());
}

void read_encoder_settings(const JsonObject& json, Modules& modules) {
  if (const auto limit = json.find_integer("max_seq_length", kSize)) modules.max_tokens = *limit;
  modules.lower_case = json.find_boolean("do_lower_case").value_or(false);
  require_value(json, "transformer_task", "feature-extraction");
  require_value(json, "module_output_name", "token_embeddings");
  require_value(json, "modality_config",
                {{"text", {{"method", "forward"}, {"method_output_name", "last_hidden_state"}}}});
  require_empty(json, std::vector<std::string_view>{"config_args", "config_kwargs", "document_length", "model_args",
                                                    "model_kwargs", "processing_kwargs", "processor_kwargs",
                                                    "query_expansion", "query_length", "tokenizer_args"});
  json.require_all_read(std::vector<std::string_view>{"unpad_inputs"});
}

void read_encoder(const path& directory, Modules& modules) {
  modules.encoder = directory;
  for (const std::string_view name : kEncoderFiles) {
    if (std::filesystem::exists(directory / name))
      return read_encoder_settings(JsonObject::read(directory / name), modules);
  }
}

/// "model_max_length" of the tokenizer, which is huge where there is no limit.
void read_tokenizer_limit(Modules& modules) {
  const JsonObject json = read_json_if_there(modules.encoder / "tokenizer_config.json");
  const Json& limit = json.value("model_max_length");
  if (modules.max_tokens > 0 || limit.is_null()) return;
  if (!limit.is_number() || limit.get<double>() < 1) json.refuse("model_max_length", "a number >= 1");
  if (limit.get<double>() < 1 << 24) modules.max_tokens = limit.get<std::int64_t>();
}

// ---- pooling

struct PoolingName {
  std::string_view name;
  std::string_view flag;  ///< of versions before 5.4
  Pooling pooling;
};

/// In the order in which flags that are set together lay their vectors side by side.
constexpr PoolingName kPoolings[] = {
    {"cls", "pooling_mode_cls_token", Pooling::cls},
    {"max", "pooling_mode_max_tokens", Pooling::max},
    {"mean", "pooling_mode_mean_tokens", Pooling::mean},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_length},
    {"weightedmean", "pooling_mode_weightedmean_tokens", Pooling::weighted_mean},
    {"lasttoken", "pooling_mode_lasttoken", Pooling::last}};

Pooling find_pooling(const JsonObject& json, const std::string& name) {
  const auto* const found = std::ranges::find(kPoolings, name, &PoolingName::name);
  if (found == std::end(kPoolings))
    json.refuse("pooling_mode", "cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken");
  return found->pooling;
}

std::vector<Pooling> read_poolings(const JsonObject& json) {
  std::vector<Pooling> poolings;
  if (json.value("pooling_mode").is_array()) {
    for (const std::string& name : json.texts("pooling_mode")) poolings.push_back(find_pooling(json, name));
  } else if (const auto name = json.find_text("pooling_mode")) {
    poolings.push_back(find_pooling(json, *name));
  }
  const bool named = !poolings.empty();
  for (const PoolingName& known : kPoolings) {
    if (json.find_boolean(known.flag).value_or(false) && !named) poolings.push_back(known.pooling);
  }
  if (poolings.empty()) poolings.push_back(Pooling::mean);
  return poolings;
}

void read_pooling(const path& directory, Modules& modules) {
  const JsonObject json = JsonObject::read(directory / "config.json");
  modules.poolings = read_poolings(json);
  const auto width = json.find_integer("embedding_dimension", kSize);
  const auto older = json.find_integer("word_embedding_dimension", kSize);
  modules.pooled_width = width.value_or(older.value_or(0));
  modules.pools_prompt = json.find_boolean("include_prompt").value_or(true);
  json.require_all_read();
}

// ---- what follows

WeightPtr weight_of(std::map<std::string, Tensor>& tensors, const std::string& name, const Shape& shape,
                    const path& directory) {
  const auto found = tensors.find(name);
  require(found != tensors.end(), "{}: tensor \"{}\" is missing; config.json asks for it", directory.string(), name);
  const Tensor stored = found->second;
  require(stored.shape() == shape, "{}: tensor \"{}\" is {}, config.json asks for {}", directory.string(), name,
          stored.shape(), shape);
  tensors.erase(found);
  auto weight = std::make_shared<Weight>(shape, DType::f32);
  weight->set_source([stored] { return stored.to(DType::f32); });
  return weight;
}

std::optional<kernels::Activation> read_dense_activation(const JsonObject& json) {
  const std::string name = json.find_text("activation_function").value_or("torch.nn.modules.activation.Tanh");
  if (name == "torch.nn.modules.linear.Identity") return std::nullopt;
  if (name == "torch.nn.modules.activation.Tanh") return kernels::Activation::tanh;
  if (name == "torch.nn.modules.activation.ReLU") return kernels::Activation::relu;
  if (name == "torch.nn.modules.activation.GELU") return kernels::Activation::gelu;
  json.refuse("activation_function", "torch's Identity, Tanh, ReLU or GELU");
}

/// Throws Error unless the module works on the sentence's vector.
void require_of_sentence(const JsonObject& json) {
  require_value(json, "module_input_name", "sentence_embedding");
  require_value(json, "module_output_name", "sentence_embedding");
}

Dense read_dense(const path& directory) {
  const JsonObject json = JsonObject::read(directory / "config.json");
  const std::int64_t inputs = json.integer("in_features", kSize);
  const std::int64_t outputs = json.integer("out_features", kSize);
  const bool bias = json.find_boolean("bias").value_or(true);
  Dense dense{.linear = {}, .activation = read_dense_activation(json)};
  require_value(json, "use_residual", false);
  require_of_sentence(json);
  json.require_all_read();
  auto tensors = read_safetensors_directory(directory).tensors;
  dense.linear.weight = weight_of(tensors, "linear.weight", {outputs, inputs}, directory);
  if (bias) dense.linear.bias = weight_of(tensors, "linear.bias", {outputs}, directory);
  require(tensors.empty(), "{}: tensor \"{}\" has no use in a dense layer", directory.string(),
          printable(tensors.empty() ? std::string_view() : tensors.begin()->first));
  return dense;
}

Normalize read_normalize(const path& directory) {
  const JsonObject json = read_json_if_there(directory / "config.json");
  require_of_sentence(json);
  json.require_all_read();
  return {};
}

// ---- the whole

void read_prompt(const path& directory, Modules& modules) {
  const JsonObject json = read_json_if_there(directory / "config_sentence_transformers.json");
  require_value(json, "model_type", "SentenceTransformer");
  const Json& prompts = json.value("prompts");
  if (const auto name = json.find_text("default_prompt_name")) {
    const bool known = prompts.is_object() && prompts.contains(*name) && prompts[*name].is_string();
    if (!known) json.refuse("default_prompt_name", "the name of one of \"prompts\"");
    modules.prompt = prompts[*name].get<std::string>();
  }
  json.require_all_read(std::vector<std::string_view>{"__version__", "similarity_fn_name"});
}

// ---- GGUF files

/// The converter keeps the kind of pooling of modules.json, and refuses those it has no number for. It does not keep
/// whether vectors are normalised, so they are, as llama.cpp does by default and most such models do.
Modules modules_of(const Gguf& file, const path& model) {
  constexpr std::pair<std::int64_t, Pooling> poolings[] = {{1, Pooling::mean}, {2, Pooling::cls}, {3, Pooling::last}};
  Modules modules{.encoder = model, .after = {Normalize{}}};
  const std::string key = std::string(file.text("general.architecture")) + ".pooling_type";
  modules.described = file.contains(key);
  if (!modules.described) return modules;
  const std::int64_t type = file.integer(key);
  const auto* const found = std::ranges::find(poolings, type, &std::pair<std::int64_t, Pooling>::first);
  if (found == std::end(poolings))
    file.refuse(key, "1 (mean), 2 (first token) or 3 (last token); rapt makes vectors, and ranks no pairs of texts");
  modules.poolings = {found->second};
  return modules;
}

}  // namespace

Modules read_modules(const path& directory) {
  if (is_gguf(directory)) return modules_of(read_gguf(directory), directory);
  Modules modules{.encoder = directory};
  modules.described = std::filesystem::exists(directory / "modules.json");
  if (modules.described) {
    const std::vector<Entry> entries = read_entries(directory);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto& [kind, place, json] = entries[i];
      if (i == 0 && kind == "Transformer") {
        read_encoder(place, modules);
      } else if (i == 1 && kind == "Pooling") {
        read_pooling(place, modules);
      } else if (i > 1 && kind == "Dense") {
        modules.after.emplace_back(read_dense(place));
      } else if (i > 1 && kind == "Normalize") {
        modules.after.emplace_back(read_normalize(place));
      } else {
        json.refuse("type", "Transformer, then Pooling, then any number of Dense and Normalize");
      }
    }
    require(entries.size() > 1, "{}: there is no Pooling module", (directory / "modules.json").string());
    read_prompt(directory, modules);
  } else {
    read_encoder(directory, modules);
  }
  read_tokenizer_limit(modules);
  return modules;
}

}  // namespace rapt::embedding
