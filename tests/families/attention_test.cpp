// How layers attend, in config.json and on loading.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "attention/capture.h"
#include "families/checkpoint.h"
#include "formats/scratch.h"

namespace rapt {
namespace {

const std::string data = RAPT_TEST_DATA;

ModelConfig with(ModelConfig config, const std::string& rules) {
  choose_attention(parse_attention_rules(rules), config);
  return config;
}

/// Writes a config and reads it.
ModelConfig read_back(const ModelConfig& config) {
  const Scratch scratch;
  put(scratch / "config.json", config_text(config));
  return read_config(scratch.path());
}

TEST(AttentionInConfig, IsReadBack) {
  for (const char* name : {"marian-tiny", "gpt2-tiny", "gpt_neox-tiny"}) {
    const ModelConfig usual = read_config(data + "/" + name);
    const std::string text = config_text(usual);
    EXPECT_EQ(text.find("rapt_attention"), std::string::npos) << "nothing is said where nothing is unusual";
    for (const std::string rules :
         {"window(5, 0)", "decoder.1 = linear favor(16, 9); decoder.0 = retention", "linear relu",
          "decoder = causal & (prefix(4) | global_keys(6..9, 20))", "decoder.1 = gated_delta"}) {
      SCOPED_TRACE(std::string(name) + ", " + rules);
      const ModelConfig config = with(usual, rules);
      const ModelConfig read = read_back(config);
      EXPECT_EQ(attention_text(read), attention_text(config));
      EXPECT_EQ(config_text(read), config_text(config));
    }
  }
  const ModelConfig marian = read_config(data + "/marian-tiny");
  for (const std::string rules : {"encoder = big_bird(512, 8); cross = prefix(3)", "cross.1 = linear elu"}) {
    EXPECT_EQ(attention_text(read_back(with(marian, rules))), attention_text(with(marian, rules)));
  }
}

/// C: one for all layers, or one for each; everything else is refused, by name and place.
TEST(AttentionInConfig, IsCheckedWhenRead) {
  const std::string text = config_text(read_config(data + "/gpt2-tiny"));
  const auto read = [&](const std::string& value) {
    const Scratch scratch;
    put(scratch / "config.json", text.substr(0, text.rfind('}')) + ", \"rapt_attention\": " + value + "}");
    return attention_text(read_config(scratch.path()));
  };
  EXPECT_EQ(read("{}"), "decoder = causal");
  EXPECT_EQ(read("null"), "decoder = causal");
  EXPECT_EQ(read(R"({"decoder": []})"), "decoder = causal");
  EXPECT_EQ(read(R"({"decoder": ["linear elu"]})"), "decoder = linear elu");
  EXPECT_EQ(read(R"({"decoder": ["linear elu", "causal"]})"), "decoder.0 = linear elu; decoder.1 = causal");
  const auto message = [&](const std::string& value) -> std::string {
    try {
      return read(value);
    } catch (const Error& error) {
      return error.what();
    }
  };
  const std::vector<std::pair<std::string, std::string>> examples{
      {R"x({"decoder": ["windw(3, 0)"]})x",
       "\"rapt_attention.decoder\": attention: \"windw(3, 0)\", column 1: expected"},
      {R"x({"decoder": ["causal", "causal", "causal"]})x", "attention of 3 decoder layers is given, there are 2"},
      {R"x({"decoder": ["same_block(8, start)"]})x", "without \"start\""},
      {R"x({"encoder": ["full"]})x", "attention of 1 encoder layers is given, there are none"},
      {R"x({"decoder": "causal"})x", "\"rapt_attention.decoder\": expected"},
      {R"x({"decoder": [3]})x", "rapt_attention.decoder"},
      {R"x({"decodr": ["causal"]})x", "rapt_attention.decodr"},
      {R"x(["causal"])x", "\"rapt_attention\": expected an object"},
  };
  for (const auto& [value, expected] : examples) {
    EXPECT_NE(message(value).find(expected), std::string::npos) << message(value) << "\ninstead of " << expected;
    EXPECT_NE(message(value).find("config.json"), std::string::npos) << message(value);
  }
}

Batch text_batch() {
  const std::vector<std::vector<std::int32_t>> texts{{3, 17, 8, 30, 2, 2, 11, 25, 6, 19, 4}, {1, 2, 3}};
  Batch batch{.input = RaggedTokens::of(texts)};
  batch.targets.assign(14, 5);
  return batch;
}

TEST(AttentionOnLoading, ChangesWhatTheSameWeightsCompute) {
  const Batch batch = text_batch();
  Context ctx;
  const auto loss = [&](const std::string& rules) {
    const auto model = load_model(data + "/gpt2-tiny", DType::f32, parse_attention_rules(rules));
    return model->loss(ctx, batch, {}).negative_log_likelihood;
  };
  const double usual = loss("");
  EXPECT_EQ(loss("causal"), usual);
  EXPECT_EQ(loss("full"), usual) << "a decoder does not look ahead";
  EXPECT_NEAR(loss("window(100, 0)"), usual, 1e-4 * usual);
  for (const char* rules : {"window(1, 0)", "linear elu", "linear relu", "linear favor(8)", "retention"}) {
    EXPECT_TRUE(std::isfinite(loss(rules))) << rules;
    EXPECT_GT(std::abs(loss(rules) - usual), 1e-5) << rules;
  }
  // What favor estimates is softmax: the more directions, the closer.
  EXPECT_LT(std::abs(loss("linear favor(4096)") - usual), 0.25 * std::abs(loss("linear favor(2)") - usual));
}

/// The families whose decoders can attend by the gated delta rule; the tensor that queries come from, and what lies
/// beside it.
const std::vector<std::pair<std::string, std::string>> with_gates{{"marian-tiny", "model.decoder.layers.1.self_attn."},
                                                                  {"bart-tiny", "model.decoder.layers.1.self_attn."},
                                                                  {"mbart-tiny", "model.decoder.layers.1.self_attn."},
                                                                  {"m2m_100-tiny", "model.decoder.layers.1.self_attn."},
                                                                  {"gpt2-tiny", "transformer.h.1.attn."},
                                                                  {"gpt_neox-tiny", "gpt_neox.layers.1.attention."},
                                                                  {"llama-tiny", "model.layers.1.self_attn."},
                                                                  {"mistral-tiny", "model.layers.1.self_attn."},
                                                                  {"qwen2-tiny", "model.layers.1.self_attn."},
                                                                  {"qwen3-tiny", "model.layers.1.self_attn."}};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

void save(const Transformer& model, const std::filesystem::path& directory) {
  DirectoryWriter writer(directory);
  write_model(model, writer);
  writer.commit();
}

TEST(GatedDelta, ComesBackFromItsOwnFilesUnchanged) {
  for (const auto& [name, prefix] : with_gates) {
    SCOPED_TRACE(name);
    const Scratch scratch;
    const auto rules = parse_attention_rules("decoder.1 = gated_delta");
    const auto model = load_accounted_model(data + "/" + name, rules, 5).model;
    save(*model, scratch / "one");
    const auto read = load_model(scratch / "one");
    save(*read, scratch / "two");
    for (const char* file : {"config.json", "model.safetensors"})
      EXPECT_EQ(get(scratch / "one" / file), get(scratch / "two" / file)) << file;
    EXPECT_EQ(attention_text(read->config()), attention_text(model->config()));

    const auto before = read_safetensors_directory(data + "/" + name).tensors;
    auto after = read_safetensors_directory(scratch / "one").tensors;
    const std::int64_t heads = model->config().kv_heads_of(AttentionKind::decoder);
    const std::int64_t width = model->config().d_model;
    EXPECT_EQ(after.at(prefix + "rapt_alpha.weight").shape(), (Shape{heads, width}));
    EXPECT_EQ(after.at(prefix + "rapt_beta.weight").shape(), (Shape{heads, width}));
    EXPECT_EQ(after.at(prefix + "rapt_a_log").shape(), (Shape{heads}));
    EXPECT_EQ(after.at(prefix + "rapt_dt_bias").shape(), (Shape{heads}));
    const auto gates =
        std::erase_if(after, [](const auto& tensor) { return tensor.first.find("rapt") != std::string::npos; });
    EXPECT_EQ(gates, 4U);
    for (const auto& [tensor, value] : after) EXPECT_TRUE(before.contains(tensor)) << tensor;

    const TensorAccount account = account_for(scratch / "one").tensors;
    EXPECT_EQ(std::ranges::count(account.used, prefix + "rapt_a_log"), 1);
    EXPECT_TRUE(account.unused.empty() && account.fresh.empty());
    Context ctx;
    const Batch batch = text_batch();
    if (model->config().encoder_decoder()) continue;
    const Tensor expected = model->logits(ctx, batch).clone();
    const Tensor mapped = map_model(scratch / "one")->logits(ctx, batch);
    EXPECT_EQ(std::memcmp(mapped.raw(), expected.raw(), expected.bytes()), 0);
  }
}

TEST(GatedDelta, CanBeUsedWhereItWasTrainedOnly) {
  const Scratch scratch;
  const auto load = [](const std::filesystem::path& path, const std::string& rules) {
    return load_model(path, DType::f32, parse_attention_rules(rules));
  };
  const std::string refusal = message_of([&] { load(data + "/gpt2-tiny", "decoder.1 = gated_delta"); });
  EXPECT_NE(
      refusal.find("model.safetensors: has no tensor \"transformer.h.1.attn.rapt_alpha.weight\": gated_delta learns"),
      std::string::npos)
      << refusal;
  EXPECT_NE(refusal.find("--from MODEL --attention"), std::string::npos) << refusal;
  const std::string gguf = message_of([&] { load(data + "/gguf/llama-tiny.gguf", "gated_delta"); });
  EXPECT_NE(gguf.find("llama-tiny.gguf: has no tensor \"model.layers.0.self_attn.rapt_alpha.weight\""),
            std::string::npos)
      << gguf;
  for (const char* name : {"t5-tiny", "gemma2-tiny"}) {
    const std::string message = message_of([&] { load(data + "/" + name, "decoder = gated_delta"); });
    EXPECT_NE(message.find("adds to scores or caps them"), std::string::npos) << message;
  }
  const std::string encoder = message_of([&] { load(data + "/bert-tiny", "gated_delta"); });
  EXPECT_NE(encoder.find("gated_delta is causal and fits a decoder's self-attention only"), std::string::npos)
      << encoder;

  // Its gates are there without use where layers attend otherwise, and then only.
  const auto model = load_accounted_model(data + "/gpt2-tiny", parse_attention_rules("gated_delta"), 5).model;
  save(*model, scratch / "delta");
  Context ctx;
  const Batch batch = text_batch();
  EXPECT_EQ(load(scratch / "delta", "causal")->loss(ctx, batch, {}).negative_log_likelihood,
            load(data + "/gpt2-tiny", "")->loss(ctx, batch, {}).negative_log_likelihood)
      << "the other weights are those of the model that gates were added to";
  EXPECT_NE(load(scratch / "delta", "decoder.0 = linear elu")->loss(ctx, batch, {}).negative_log_likelihood,
            load(scratch / "delta", "")->loss(ctx, batch, {}).negative_log_likelihood);
  auto json = OrderedJson::parse(get(scratch / "delta" / "config.json"));
  json["rapt_attention"]["decoder"] = {"gated_delta", "causal"};
  put(scratch / "delta" / "config.json", json_text(json));
  const std::string left = message_of([&] { load(scratch / "delta", ""); });
  EXPECT_NE(
      left.find("4 tensors that this gpt2 model has no use for, the first is \"transformer.h.1.attn.rapt_a_log\""),
      std::string::npos)
      << left;
}

TEST(AttentionCapture, TellsOfTheGatedDeltaRule) {
  const auto model =
      load_accounted_model(data + "/gpt2-tiny", parse_attention_rules("decoder.1 = gated_delta"), 1).model;
  Context ctx;
  AttentionCapture capture({AttentionKind::decoder});
  const TraceScope scope(ctx, capture);
  model->logits(ctx, text_batch());
  EXPECT_EQ(capture.captured().size(), 2U) << "layer 0 of two sequences";
  ASSERT_EQ(capture.absent().size(), 1U);
  EXPECT_EQ(capture.absent()[0].layer, 1);
  EXPECT_NE(capture.absent()[0].reason.find("gated delta rule"), std::string::npos);
}

TEST(AttentionCapture, TellsOfLinearLayers) {
  const auto model = load_model(data + "/gpt2-tiny", DType::f32,
                                parse_attention_rules("decoder.0 = linear elu; decoder.1 = retention"));
  Context ctx;
  AttentionCapture capture({AttentionKind::decoder});
  const TraceScope scope(ctx, capture);
  model->logits(ctx, text_batch());
  ASSERT_EQ(capture.captured().size(), 2U) << "layer 0 of two sequences";
  for (const CapturedAttention& map : capture.captured()) {
    EXPECT_EQ(map.layer, 0);
    for (int head = 0; head < map.heads; ++head) {
      for (int query = 0; query < map.queries; ++query) {
        double sum = 0;
        for (int key = 0; key < map.keys; ++key) {
          EXPECT_GE(map.weight(head, query, key), 0);
          if (key > query) {
            EXPECT_EQ(map.weight(head, query, key), 0) << "nothing ahead is seen";
          }
          sum += map.weight(head, query, key);
        }
        EXPECT_NEAR(sum, 1, 1e-5);
      }
    }
  }
  ASSERT_EQ(capture.absent().size(), 1U);
  EXPECT_EQ(capture.absent()[0].layer, 1);
  EXPECT_NE(capture.absent()[0].reason.find("retention"), std::string::npos);
}

}  // namespace
}  // namespace rapt
