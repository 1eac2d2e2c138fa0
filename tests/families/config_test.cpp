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
  EXPECT_EQ(families, 18);
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
