// config.json alone: what transformers writes, and what is no config at all.
#include "families/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "families/checkpoint.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

/// From script/goldens/default_configs.py.
OrderedJson default_configs() {
  return OrderedJson::parse(get(std::filesystem::path(RAPT_TEST_DATA) / "default_configs.json"));
}

TEST(Config, WhatTransformersWritesByDefaultIsRead) {
  int families = 0;
  const OrderedJson configs = default_configs();
  for (const auto& [model_type, json] : configs.items()) {
    SCOPED_TRACE(model_type);
    const ModelConfig config = read_config(JsonObject::parse(json.dump(), "config.json"));
    EXPECT_EQ(config.vocab, json.at("vocab_size").get<std::int64_t>());
    EXPECT_EQ(config.family, model_type);
    ++families;
  }
  EXPECT_EQ(families, 19);
}

std::string text_of(const OrderedJson& json) {
  return config_text(read_config(JsonObject::parse(json.dump(), "config.json")));
}

/// Early versions of transformers wrote all that a config can say, and tools add what they need.
TEST(Config, WhatChangesNothingMayStandInIt) {
  const OrderedJson more = OrderedJson::parse(R"({
    "add_bias_logits": false, "add_cross_attention": false, "auto_map": {"AutoModel": "own.Model"},
    "cross_attention_hidden_size": null, "custom_pipelines": {}, "do_blenderbot_90_layernorm": false, "is_decoder": false,
    "language": "english", "name": "Model", "pruned_heads": {}, "quantization_config": null, "sentence_transformers": {},
    "tie_encoder_decoder": false, "torchscript": false, "unsloth_fixed": true, "unsloth_version": "2025.1.1",
    "use_bfloat16": false, "xla_device": null})");
  const OrderedJson configs = default_configs();
  for (const auto& [model_type, json] : configs.items()) {
    SCOPED_TRACE(model_type);
    OrderedJson whole = json;
    whole.update(more);
    if (!whole.contains("forced_bos_token_id")) whole["forced_bos_token_id"] = nullptr;
    if (!json.value("is_encoder_decoder", false)) whole["decoder_start_token_id"] = nullptr;
    EXPECT_EQ(text_of(whole), text_of(json));
  }
}

TEST(Config, WhatNoFamilyHasIsRefused) {
  const std::pair<const char*, OrderedJson> options[] = {{"add_bias_logits", true},
                                                         {"cross_attention_hidden_size", 64},
                                                         {"is_decoder", true},
                                                         {"pruned_heads", {{"0", {1}}}},
                                                         {"quantization_config", {{"bits", 4}}}};
  const OrderedJson configs = default_configs();
  for (const auto& [model_type, json] : configs.items()) {
    for (const auto& [key, value] : options) {
      OrderedJson asking = json;
      asking[key] = value;
      EXPECT_TRUE(refuses([&] { text_of(asking); }, "config.json", key, "expected")) << model_type;
    }
  }
  EXPECT_TRUE(refuses([] { text_of({{"vocab_size", 9}}); }, "\"model_type\" is missing"));
}

TEST(Config, EarlyNames) {
  const OrderedJson configs = default_configs();
  const auto read = [&](const char* model_type, const OrderedJson& more) {
    OrderedJson json = configs.at(model_type);
    json.erase("rope_parameters");
    json.update(more);
    return read_config(JsonObject::parse(json.dump(), "config.json"));
  };
  EXPECT_EQ(read("gpt_neox", {{"rotary_pct", 0.5}}).rotary_fraction, 0.5);
  EXPECT_EQ(read("gpt_neox", {{"rotary_pct", 0.5}, {"partial_rotary_factor", 0.5}}).rotary_fraction, 0.5);
  EXPECT_EQ(read("llama", {{"partial_rotary_factor", 0.5}}).rotary_fraction, 0.5);
  EXPECT_NO_THROW(read("gpt_neox", {{"attention_probs_dropout_prob", 0}, {"hidden_dropout_prob", 0}}));
  EXPECT_NO_THROW(read("gpt2", {{"n_special", 0}, {"predict_special_tokens", true}}));
  EXPECT_NO_THROW(read("gemma2", {{"sliding_window_size", 4096}}));
  EXPECT_TRUE(refuses([&] { read("gemma2", {{"sliding_window_size", 512}}); }, "sliding_window_size", "512"));
  EXPECT_EQ(read("t5", {{"forced_bos_token_id", 7}}).forced_bos, 7);
  const OrderedJson pegasus{{"add_final_layer_norm", true},
                            {"normalize_before", true},
                            {"normalize_embedding", false},
                            {"static_position_embeddings", true}};
  EXPECT_NO_THROW(read("pegasus", pegasus));
  EXPECT_TRUE(refuses([&] { read("marian", pegasus); }, "add_final_layer_norm"));
}

/// What the classes of transformers assume where a key is absent, rapt assumes, too.
TEST(Config, AbsentKeysMeanWhatTransformersMeans) {
  const OrderedJson configs = default_configs();
  for (const auto& [model_type, json] : configs.items()) {
    const auto text_of = [&](const OrderedJson& config) {
      try {
        return config_text(read_config(JsonObject::parse(config.dump(), "config.json")));
      } catch (const Error& error) {
        return std::string(error.what());
      }
    };
    const std::string whole = text_of(json);
    for (const auto& [key, value] : json.items()) {
      if (key == "model_type") continue;
      OrderedJson without = json;
      without.erase(key);
      EXPECT_EQ(text_of(without), whole) << model_type << " without " << key;
    }
  }
}

}  // namespace
}  // namespace rapt
