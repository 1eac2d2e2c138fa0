#include "families/model_directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "families/gguf_models.h"
#include "families/tiny_models.h"
#include "text/tokenizer.h"

namespace rapt {
namespace {

/// Reads a directory and writes it again.
std::filesystem::path rewritten(const Scratch& scratch, const std::filesystem::path& from,
                                const std::vector<AttentionRule>& attention = {}) {
  auto [model, directory] = load_model_directory(from, attention);
  if (is_gguf(from)) directory.add_files(load_tokenizer(from)->files());
  DirectoryWriter writer(scratch / "written");
  directory.write(*model, writer);
  writer.commit();
  return scratch / "written";
}

void expect_same_tensors(const std::filesystem::path& one, const std::filesystem::path& other) {
  const auto before = read_safetensors_directory(one).tensors;
  const auto after = read_safetensors_directory(other).tensors;
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : before) {
    ASSERT_TRUE(after.contains(name)) << name;
    ASSERT_EQ(after.at(name).dtype(), tensor.dtype()) << name;
    ASSERT_EQ(after.at(name).shape(), tensor.shape()) << name;
    ASSERT_EQ(std::memcmp(after.at(name).raw(), tensor.raw(), tensor.bytes()), 0) << name;
  }
}

class EveryFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryFamily, IsWrittenAsItWasReadInEveryType) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const Scratch scratch;
    put_tiny_model(GetParam(), scratch / "given", dtype);
    const auto written = rewritten(scratch, scratch / "given");
    expect_same_tensors(scratch / "given", written);
    for (const auto& entry : std::filesystem::directory_iterator(scratch / "given")) {
      const std::string name = entry.path().filename();
      if (name == "model.safetensors") continue;
      ASSERT_EQ(std::filesystem::exists(written / name), name != "pytorch_model.bin") << name;
      if (name == "pytorch_model.bin") continue;
      EXPECT_EQ(get(written / name), get(entry.path())) << name;
    }
    const auto kept = load_model_directory(scratch / "given").directory;
    EXPECT_EQ(kept.exact(), dtype == DType::f32);
    EXPECT_EQ(kept.types(), name_of(dtype));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EveryFamily, ::testing::ValuesIn(trainable_models), [](const auto& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

/// Names of early files, repetitions, constants and mixed types stay what they were.
TEST(ModelDirectory, KeepsNamesRepetitionsConstantsAndTypes) {
  const Scratch scratch;
  put_tiny_model("bert-tiny", scratch / "given");
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : read_safetensors_directory(scratch / "given").tensors) {
    std::string old = name;
    if (old.ends_with("LayerNorm.weight")) old.replace(old.size() - 6, 6, "gamma");
    if (old.ends_with("LayerNorm.bias")) old.replace(old.size() - 4, 4, "beta");
    const bool half = name.ends_with("query.weight");
    tensors.emplace_back(old, half ? tensor.to(DType::bf16) : tensor.clone());
    if (name.ends_with("word_embeddings.weight"))
      tensors.emplace_back("cls.predictions.decoder.weight", tensor.clone());
  }
  const std::vector<std::int64_t> places{0, 1, 2, 3};
  tensors.emplace_back("bert.embeddings.position_ids", Tensor::of<std::int64_t>({1, 4}, places));
  save_safetensors(scratch / "given" / "model.safetensors", tensors);
  expect_same_tensors(scratch / "given", rewritten(scratch, scratch / "given"));
  const auto kept = load_model_directory(scratch / "given").directory;
  EXPECT_EQ(kept.types(), "bf16 and f32");
  EXPECT_FALSE(kept.exact());
}

TEST(ModelDirectory, RepetitionsFollowWhatTheyRepeat) {
  const Scratch scratch;
  put_tiny_model("llama3-tiny", scratch / "given");
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : read_safetensors_directory(scratch / "given").tensors) {
    tensors.emplace_back(name, tensor.clone());
    if (name == "model.embed_tokens.weight") tensors.emplace_back("lm_head.weight", tensor.clone());
  }
  save_safetensors(scratch / "given" / "model.safetensors", tensors);
  const auto [model, directory] = load_model_directory(scratch / "given");
  model->parameters().front().value().write<float>()[0] = 7;
  DirectoryWriter writer(scratch / "written");
  directory.write(*model, writer);
  writer.commit();
  const auto after = read_safetensors_directory(scratch / "written").tensors;
  EXPECT_EQ(after.at("model.embed_tokens.weight").data<float>()[0], 7);
  EXPECT_EQ(after.at("lm_head.weight").data<float>()[0], 7);
}

TEST(ModelDirectory, KeepsTheModulesOfSentenceEncoders) {
  const Scratch scratch;
  std::filesystem::copy(test_data + "/embed-tiny", scratch / "given", std::filesystem::copy_options::recursive);
  put(scratch / "given" / "modules.json", "[{\"path\": \"\"}, {\"path\": \"1_Pooling\"}, {\"path\": \"2_Dense\"}]");
  std::filesystem::create_directories(scratch / "given" / "onnx");
  put(scratch / "given" / "onnx" / "model.onnx", "the same weights in another format");
  for (const int times : {1, 2}) {  // the second time in place of the first
    const auto written = rewritten(scratch, scratch / "given");
    expect_same_tensors(scratch / "given", written);
    int kept = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch / "given")) {
      const auto name = std::filesystem::relative(entry.path(), scratch / "given");
      if (!entry.is_regular_file() || name == "model.safetensors" || name.native().starts_with("onnx")) continue;
      EXPECT_EQ(get(written / name), get(entry.path())) << name << ", time " << times;
      ++kept;
    }
    EXPECT_EQ(kept, 8);
    EXPECT_FALSE(std::filesystem::exists(written / "onnx"));
    EXPECT_NO_THROW(verify_manifest(written));
  }
  put(scratch / "written" / "1_Pooling" / "config.json", "{}");
  EXPECT_THROW(verify_manifest(scratch / "written"), Error);
}

/// sentence-t5 and others are published with the config of the whole.
TEST(ModelDirectory, EncodersOfT5ComeAlone) {
  const Scratch scratch;
  put_tiny_model("t5-gated-tiny", scratch / "given");
  const auto whole = load_model(scratch / "given");
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : read_safetensors_directory(scratch / "given").tensors) {
    if (name.starts_with("encoder.") || name.starts_with("shared.")) tensors.emplace_back(name, tensor.clone());
  }
  save_safetensors(scratch / "given" / "model.safetensors", tensors);
  const auto encoder = load_model(scratch / "given");
  ASSERT_TRUE(encoder->config().encoder_only());
  Context ctx;
  const RaggedTokens texts{{5, 7, 39, 12, 3, 3}, Sequences({0, 4, 6})};
  const Tensor expected = whole->encode(ctx, texts).values.value();
  EXPECT_TRUE(std::ranges::equal(encoder->encode(ctx, texts).values.value().values<float>(), expected.values<float>()));
  expect_same_tensors(scratch / "given", rewritten(scratch, scratch / "given"));
  const auto config = OrderedJson::parse(config_text(encoder->config()));
  EXPECT_EQ(config["architectures"][0], "T5EncoderModel");
  EXPECT_TRUE(read_config(JsonObject::parse(config.dump(), "config.json")).encoder_only());
}

TEST(ModelDirectory, ShardsBecomeOneFile) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  OrderedJson index{{"metadata", {{"total_size", 0}}}, {"weight_map", OrderedJson::object()}};
  std::vector<NamedTensor> shards[2];
  int next = 0;
  for (const auto& [name, tensor] : read_safetensors_directory(scratch / "given").tensors) {
    const int shard = next++ % 2;
    shards[shard].emplace_back(name, tensor.clone());
    index["weight_map"][name] = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
  }
  std::filesystem::remove(scratch / "given" / "model.safetensors");
  for (const int shard : {0, 1})
    save_safetensors(scratch / "given" / ("model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors"),
                     shards[shard]);
  put(scratch / "given" / "model.safetensors.index.json", json_text(index));
  const auto written = rewritten(scratch, scratch / "given");
  expect_same_tensors(scratch / "given", written);
  EXPECT_FALSE(std::filesystem::exists(written / "model.safetensors.index.json"));
}

TEST(ModelDirectory, SaysHowLayersAttendWhereThatWasChanged) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given");
  const auto written = rewritten(scratch, scratch / "given", parse_attention_rules("decoder = window(3, 0)"));
  const auto before = OrderedJson::parse(get(scratch / "given" / "config.json"));
  auto after = OrderedJson::parse(get(written / "config.json"));
  EXPECT_EQ(after["rapt_attention"]["decoder"][0], "window(3, 0)");
  after.erase("rapt_attention");
  EXPECT_EQ(after, before);
}

/// Gates are added to what the directory holds, in f32 whatever its type, and left out again where nothing uses them.
TEST(ModelDirectory, GainsAndLosesTheGatesOfLayers) {
  const Scratch scratch;
  put_tiny_model("llama-tiny", scratch / "given", DType::bf16);
  const auto rules = parse_attention_rules("decoder.1 = gated_delta");
  const auto [model, directory] = load_model_directory(scratch / "given", rules, 3);
  EXPECT_EQ(directory.fresh().size(), 4U);
  EXPECT_EQ(directory.types(), "bf16 and f32");
  const auto written = rewritten(scratch, scratch / "given", rules);
  const auto before = read_safetensors_directory(scratch / "given").tensors;
  const auto after = read_safetensors_directory(written).tensors;
  EXPECT_EQ(after.size(), before.size() + 4);
  for (const std::string& name : directory.fresh()) EXPECT_EQ(after.at(name).dtype(), DType::f32) << name;
  EXPECT_NO_THROW(load_model(written));

  // What config.json asks for is not made up.
  std::vector<NamedTensor> damaged;
  for (const auto& [name, tensor] : after) {
    if (!name.ends_with("rapt_dt_bias")) damaged.emplace_back(name, tensor.clone());
  }
  std::filesystem::copy(written, scratch / "damaged", std::filesystem::copy_options::recursive);
  save_safetensors(scratch / "damaged" / "model.safetensors", damaged);
  for (const auto& chosen : {rules, parse_attention_rules("")}) {
    try {
      load_model_directory(scratch / "damaged", chosen);
      FAIL() << "not refused";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("rapt_dt_bias\" is missing"), std::string::npos) << error.what();
    }
  }

  const auto otherwise = load_model_directory(written, parse_attention_rules("decoder = causal")).directory;
  EXPECT_EQ(otherwise.fresh().size(), 0U);
  EXPECT_EQ(otherwise.unused(), directory.fresh());
  std::filesystem::rename(written, scratch / "delta");
  expect_same_tensors(scratch / "given", rewritten(scratch, scratch / "delta", parse_attention_rules("causal")));
  EXPECT_NO_THROW(load_model(scratch / "written"));
}

TEST(ModelDirectory, K7_NumbersThatF16CannotHoldAreRefused) {
  const Scratch scratch;
  put_tiny_model("gpt2-tiny", scratch / "given", DType::f16);
  const auto [model, directory] = load_model_directory(scratch / "given");
  model->parameters().front().value().write<float>()[3] = 65519;
  {
    DirectoryWriter writer(scratch / "written");
    EXPECT_NO_THROW(directory.write(*model, writer));
  }
  model->parameters().front().value().write<float>()[3] = -65520;
  DirectoryWriter writer(scratch / "written");
  try {
    directory.write(*model, writer);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("transformer.wte.weight\" was stored in f16"), std::string::npos)
        << error.what();
  }
}

/// Two texts, for whichever sides the model has.
Tensor logits_or_states(const Transformer& model) {
  const RaggedTokens texts{{5, 7, 39, 12, 3, 3, 25, 31, 18, 9, 1, 2, 0, 38, 11}, Sequences({0, 9, 15})};
  Context ctx;
  if (model.config().encoder_only()) return model.encode(ctx, texts).values.value().clone();
  Batch batch{.source = {}, .segments = {}, .input = texts, .targets = texts.ids};
  if (model.config().encoder_decoder()) batch.source = texts;
  return model.logits(ctx, batch).clone();
}

class EveryGguf : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryGguf, IsWrittenAsADirectoryThatComputesTheSame) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const Scratch scratch;
    const auto given = scratch / "given.gguf";
    put_gguf_model(GetParam(), given, dtype);
    const auto written = rewritten(scratch, given);
    const Tensor expected = logits_or_states(*map_model(given));
    for (const auto& model : {map_model(written), load_model(written), load_model(given)}) {
      const Tensor found = logits_or_states(*model);
      ASSERT_EQ(found.shape(), expected.shape());
      EXPECT_TRUE(std::ranges::equal(found.values<float>(), expected.values<float>()));
    }
    const auto one = load_tokenizer(given);
    const auto other = load_tokenizer(written);
    EXPECT_EQ(one->pieces(), other->pieces());
    EXPECT_EQ(one->encode("the cat is in"), other->encode("the cat is in"));
    EXPECT_EQ(one->special().mask, other->special().mask);
    EXPECT_EQ(config_text(read_config(written)), config_text(load_model(given)->config()));

    // And that directory is a directory as any other.
    const auto kept = load_model_directory(given).directory;
    EXPECT_EQ(kept.exact(), dtype == DType::f32);
    EXPECT_EQ(kept.types(), dtype == DType::f32 ? "f32" : std::string(name_of(dtype)) + " and f32");
    std::filesystem::rename(written, scratch / "first");
    expect_same_tensors(scratch / "first", rewritten(scratch, scratch / "first"));
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"})
      EXPECT_EQ(get(scratch / "first" / name), get(scratch / "written" / name)) << name;
  }
}

std::string name_of_instance(const ::testing::TestParamInfo<const char*>& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, EveryGguf, ::testing::ValuesIn(trainable_gguf_models), name_of_instance);
INSTANTIATE_TEST_SUITE_P(Encoders, EveryGguf, ::testing::ValuesIn(encoding_gguf_models), name_of_instance);

TEST(ModelDirectory, OfAGgufFileSaysHowItsModelWrites) {
  const Scratch scratch;
  put_gguf_model("llama-tiny", scratch / "given.gguf", DType::f32,
                 {gguf_u32("tokenizer.ggml.eot_token_id", 7), gguf_u32("tokenizer.ggml.eom_token_id", 0),
                  gguf_f32("general.sampling.temp", 0.6F), gguf_key("general.sampling.top_k", GgufType::i32, raw(20)),
                  gguf_f32("general.sampling.xtc_probability", 0.5F),
                  gguf_string("tokenizer.chat_template", "{{ messages[0].content }}")});
  const auto written = rewritten(scratch, scratch / "given.gguf");
  const auto json_of = [&](const char* name) { return nlohmann::json::parse(get(written / name)); };
  EXPECT_EQ(json_of("generation_config.json"), (nlohmann::json{{"bos_token_id", 0},
                                                               {"eos_token_id", {0, 7}},
                                                               {"do_sample", true},
                                                               {"temperature", 0.6},
                                                               {"top_k", 20},
                                                               {"xtc_probability", 0.5}}));
  EXPECT_EQ(json_of("config.json")["eos_token_id"], (nlohmann::json{0, 7}));
  EXPECT_EQ(json_of("config.json")["architectures"], nlohmann::json{"LlamaForCausalLM"});
  EXPECT_EQ(json_of("tokenizer_config.json")["chat_template"], "{{ messages[0].content }}");
}

TEST(ModelDirectory, WhatIsNoModelIsRefusedWithAdvice) {
  const auto refusal = [](const std::filesystem::path& path) {
    try {
      load_model_directory(path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal("/nowhere").find("is no model; give a directory"), std::string::npos);
}

}  // namespace
}  // namespace rapt
