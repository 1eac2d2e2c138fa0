// Damaged weights (S7) and config.json files that say what cannot be (C1), for every family.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "families/tiny_models.h"

namespace rapt {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

Batch some_tokens(const ModelConfig& config) {
  const RaggedTokens tokens{{5, 6, 7, 8}, Sequences({0, 4})};
  Batch batch;
  if (!config.decoder_only()) batch.source = tokens;
  if (!config.encoder_only()) batch.input = tokens;
  batch.targets.resize(4);
  return batch;
}

/// Parameters that take no part in the logits.
bool is_beside(const Parameter& parameter) {
  return parameter.name.starts_with("pooler.") || parameter.name.starts_with("next_sentence.");
}

TEST(HostileWeights, S7_NanInAnyParameterReachesTheLogits) {
  for (const std::string name : trainable_models) {
    if (is_renamed_roberta(name)) continue;  // roberta-tiny
    const auto model = load_model(test_data + "/" + name);
    const Batch batch = some_tokens(model->config());
    for (const DType compute : {DType::f32, DType::bf16}) {
      Context ctx({.threads = 1, .compute = compute});
      for (const Parameter& parameter : model->parameters()) {
        if (is_beside(parameter)) continue;
        const Tensor value = parameter.value();
        const Tensor good = value.clone();
        std::ranges::fill_n(value.write<float>(), value.count(), nan);
        parameter.weight->changed();
        const Tensor logits = model->logits(ctx, batch).to(DType::f32);
        EXPECT_TRUE(std::ranges::any_of(logits.values<float>(), [](float x) { return std::isnan(x); }))
            << name << ": " << parameter.name << " in " << name_of(compute);
        std::ranges::copy(good.values<float>(), value.write<float>());
        parameter.weight->changed();
      }
      const Tensor logits = model->logits(ctx, batch).to(DType::f32);
      EXPECT_TRUE(std::ranges::all_of(logits.values<float>(), [](float x) { return std::isfinite(x); })) << name;
    }
  }
}

/// What reading config.json throws; "" if it is read.
std::string refusal_of(const OrderedJson& config) {
  try {
    read_config(JsonObject::parse(config.dump(), "config.json"));
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(HostileConfigs, C1_ValuesOfAnotherKindAreRefusedByTheirKey) {
  const std::vector<OrderedJson> values{
      "text", 1.5, -1e300, true, OrderedJson::array({"x"}), OrderedJson{{"inner", 1}}};
  int refused = 0;
  for (const std::string name : trainable_models) {
    if (is_renamed_roberta(name)) continue;
    const auto good = OrderedJson::parse(get(test_data + "/" + name + "/config.json"));
    ASSERT_EQ(refusal_of(good), "") << name;
    for (const std::string& key : account_for(test_data + "/" + name).understood_keys) {
      for (const OrderedJson& value : values) {
        if (!good.contains(key) || value.type() == good[key].type()) continue;
        if (good[key].is_null() || (good[key].is_number() && value == 1.5)) continue;
        OrderedJson bad = good;
        bad[key] = value;
        const std::string refusal = refusal_of(bad);
        EXPECT_NE(refusal.find(key), std::string::npos) << name << ": " << key << " = " << value << ": " << refusal;
        EXPECT_EQ(refusal.find('\n'), std::string::npos) << refusal;
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace rapt
