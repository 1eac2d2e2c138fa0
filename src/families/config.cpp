#include "families/config.h"

#include <algorithm>
#include <limits>

#include "families/common.h"
#include "families/family.h"
#include "model/attention_rules.h"

namespace rapt {
namespace {

/// Every layer is made before the tensors can tell that there are fewer.
constexpr std::int64_t max_layers = 10'000;

template <typename Integer>
bool is_count_of_layers(Integer ModelConfig::*member) {
  if constexpr (std::is_same_v<Integer, decltype(ModelConfig::encoder_layers)>)
    return member == &ModelConfig::encoder_layers || member == &ModelConfig::decoder_layers;
  return false;
}

/// Reads one key into the config, if it is there.
struct FieldReader {
  const JsonObject& json;
  std::string_view key;
  ModelConfig& config;

  template <typename Integer>
  requires std::is_integral_v<Integer>
  void operator()(Integer ModelConfig::*member) const {
    const std::int64_t limit = is_count_of_layers(member) ? max_layers : std::int64_t{1} << 30;
    if (const auto value = json.find_integer(key, {.min = 0, .max = limit})) {
      config.*member = static_cast<Integer>(*value);
    } else if (key.ends_with("_token_id") && is_null(json, key)) {
      config.*member = static_cast<Integer>(-1);
    }
  }
  void operator()(bool ModelConfig::*member) const {
    if (const auto value = json.find_boolean(key)) config.*member = *value;
  }
  template <typename Float>
  requires std::is_floating_point_v<Float>
  void operator()(Float ModelConfig::*member) const {
    if (const auto value = json.find_number(key, {.min = 0})) config.*member = static_cast<Float>(*value);
  }
  void operator()(EndTokens) const {
    constexpr IntegerRange token{.min = 0, .max = std::numeric_limits<std::int32_t>::max()};
    const auto tokens = json.value(key).is_array() ? json.integers(key, token) : std::vector<std::int64_t>();
    if (tokens.empty()) return (*this)(&ModelConfig::eos);
    config.eos = static_cast<std::int32_t>(tokens[0]);
    for (const std::int64_t more : std::span(tokens).subspan(1))
      config.more_eos.push_back(static_cast<std::int32_t>(more));
  }
  void operator()(kernels::Activation ModelConfig::*member) const {
    if (const auto value = json.find_text(key)) config.*member = read_activation(json, key, *value);
  }
};

std::vector<std::int32_t> end_tokens(const ModelConfig& config) {
  std::vector<std::int32_t> tokens{config.eos};
  tokens.insert(tokens.end(), config.more_eos.begin(), config.more_eos.end());
  return tokens;
}

struct FieldWriter {
  OrderedJson& json;
  std::string_view key;
  const ModelConfig& config;

  void operator()(std::int32_t ModelConfig::*member) const {
    const bool absent_token = key.ends_with("_token_id") && config.*member < 0;
    json[std::string(key)] = absent_token ? OrderedJson() : OrderedJson(config.*member);
  }
  void operator()(kernels::Activation ModelConfig::*member) const { json[std::string(key)] = name_of(config.*member); }
  void operator()(EndTokens) const {
    if (config.more_eos.empty()) return (*this)(&ModelConfig::eos);
    json[std::string(key)] = end_tokens(config);
  }
  /// The shortest decimals that give the float back, rather than those of its double.
  void operator()(float ModelConfig::*member) const {
    json[std::string(key)] = std::stod(fmt::format("{}", config.*member));
  }
  template <typename T>
  void operator()(T ModelConfig::*member) const {
    json[std::string(key)] = config.*member;
  }
};

/// What transformers has no words for: {"decoder": ["window(255, 0)"]}, one for all layers or one for each.
constexpr std::string_view attention_key = "rapt_attention";
constexpr AttentionKind attention_kinds[] = {AttentionKind::encoder, AttentionKind::decoder, AttentionKind::cross};

void read_attention(const JsonObject& json, ModelConfig& config) {
  const auto given = json.find_object(attention_key);
  if (!given) return;
  for (const AttentionKind kind : attention_kinds) {
    const auto texts = given->find_texts(name_of(kind));
    if (!texts) continue;
    auto& layers = attention_of(config, kind);
    layers.clear();
    for (const std::string& text : *texts) {
      try {
        layers.push_back(LayerAttention::parse(text));
      } catch (const Error& error) {
        fail("{}: \"{}.{}\": {}", json.file(), attention_key, name_of(kind), error.what());
      }
    }
  }
}

/// How each layer attends.
std::vector<std::string> attention_texts(const ModelConfig& config, AttentionKind kind) {
  std::vector<std::string> texts;
  for (int layer = 0; layer < layers_of(config, kind); ++layer)
    texts.push_back(layer_attention(config, kind, layer).text());
  return texts;
}

/// Adds what the keys of the family do not say.
void write_attention(const ModelConfig& config, OrderedJson& json) {
  const ModelConfig said = read_config(JsonObject::parse(json.dump(), "config.json"));
  OrderedJson unsaid;
  for (const AttentionKind kind : attention_kinds) {
    std::vector<std::string> texts = attention_texts(config, kind);
    if (texts == attention_texts(said, kind)) continue;
    if (std::ranges::adjacent_find(texts, std::not_equal_to()) == texts.end()) texts.resize(1);
    unsaid[std::string(name_of(kind))] = texts;
  }
  if (!unsaid.empty()) json[std::string(attention_key)] = unsaid;
}

/// Throws Error where a file asks for what no family has. Configs that were written whole say of all of it that it is
/// off.
void require_off(const JsonObject& json) {
  constexpr std::pair<std::string_view, std::string_view> options[] = {
      {"add_bias_logits", "false, as in BART's published models"},
      {"add_cross_attention", "false: rapt's decoders without an encoder have no cross-attention"},
      {"cross_attention_hidden_size", "null: rapt's decoders without an encoder have no cross-attention"},
      {"do_blenderbot_90_layernorm", "false, as in mBART's published models"},
      {"is_decoder", "false"},
      {"pruned_heads", "nothing, for rapt prunes no heads"},
      {"quantization_config",
       "nothing, for rapt reads weights in f32, f16 and bf16, and quantised ones in GGUF files alone"},
      {"tie_encoder_decoder", "false"}};
  for (const auto& [key, expected] : options) {
    const Json& value = json.value(key);
    const bool off = value.is_null() || value == false || (value.is_structured() && value.empty());
    if (!off) json.refuse(key, expected);
  }
}

}  // namespace

const Family& find_family(std::string_view model_type) {
  static const Family* const all[] = {&bart,  &bert,    &camembert, &distilbert, &gemma2,     &gpt2, &gpt_neox,
                                      &llama, &m2m_100, &marian,    &mbart,      &mistral,    &mt5,  &pegasus,
                                      &qwen2, &qwen3,   &roberta,   &t5,         &xlm_roberta};
  std::string known;
  for (const Family* family : all) {
    if (family->model_type == model_type) return *family;
    known += (known.empty() ? "" : ", ") + std::string(family->model_type);
  }
  fail("config.json: \"model_type\": \"{}\" is not a model that rapt knows; it knows {}", model_type, known);
}

ModelConfig read_config(const JsonObject& json) {
  require(json.has("model_type"), "{}: \"model_type\" is missing, as in files of 2019; add it, such as \"bert\"",
          json.file());
  const Family& family = find_family(json.text("model_type"));
  ModelConfig config = family.defaults;
  for (const ConfigField& field : family.fields) std::visit(FieldReader{json, field.key, config}, field.member);
  for (const ConfigConstant& constant : family.constants) {
    const Json& value = json.value(constant.key);
    if (!value.is_null() && value != constant.value) json.refuse(constant.key, constant.value.dump());
  }
  require_off(json);
  if (family.read != nullptr) family.read(json, config);
  read_attention(json, config);
  json.require_all_read(family.irrelevant);
  try {
    check(config);
  } catch (const Error& error) {
    fail("{}: {}", json.file(), error.what());
  }
  return config;
}

std::string config_text(const ModelConfig& config) {
  const Family& family = find_family(config.family);
  OrderedJson json;
  json["architectures"] = {family.architecture};
  json["model_type"] = family.model_type;
  for (const ConfigField& field : family.fields) std::visit(FieldWriter{json, field.key, config}, field.member);
  for (const ConfigConstant& constant : family.constants) json[std::string(constant.key)] = constant.value;
  if (family.write != nullptr) family.write(config, json);
  json["dtype"] = "float32";
  write_attention(config, json);
  return json_text(json);
}

std::string config_text(const ModelConfig& config, const std::string& text) {
  const ModelConfig said = read_config(JsonObject::parse(text, "config.json"));
  const bool same = std::ranges::all_of(attention_kinds, [&](AttentionKind kind) {
    return attention_texts(config, kind) == attention_texts(said, kind);
  });
  if (same) return text;
  OrderedJson json = OrderedJson::parse(text);
  json.erase(std::string(attention_key));
  write_attention(config, json);
  return json_text(json);
}

std::string generation_config_text(const ModelConfig& config) {
  OrderedJson json;
  const auto token = [&](const char* key, std::int32_t id) {
    if (id >= 0) json[key] = id;
  };
  token("bos_token_id", config.bos);
  if (config.more_eos.empty()) {
    token("eos_token_id", config.eos);
  } else {
    json["eos_token_id"] = end_tokens(config);
  }
  token("pad_token_id", config.pad);
  if (config.encoder_decoder()) {
    token("decoder_start_token_id", config.decoder_start);
    token("forced_bos_token_id", config.forced_bos);
    token("forced_eos_token_id", config.eos);
    if (config.pad >= 0) json["bad_words_ids"] = {{config.pad}};
    json["num_beams"] = 4;
  }
  json["max_length"] = std::min<std::int64_t>(config.max_positions, 512);
  return json_text(json);
}

}  // namespace rapt
