// Models in GGUF files against the Hugging Face directories they were made from (script/goldens/gguf_files.py).
#include "families/gguf.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "families/checkpoint.h"
#include "formats/gguf_bytes.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"
#include "model/positions.h"

namespace rapt {
namespace {

namespace fs = std::filesystem;

const fs::path data = RAPT_TEST_DATA;

/// A directory with the weights of NAME, and its config with some keys changed: GGUF files cannot say all that ours do.
void copy_model(const std::string& name, const nlohmann::json& changes, const fs::path& to) {
  fs::create_directory(to);
  fs::copy_file(data / name / "model.safetensors", to / "model.safetensors");
  nlohmann::json config = nlohmann::json::parse(get(data / name / "config.json"));
  config.update(changes);
  put(to / "config.json", config.dump());
}

Batch two_texts() {
  const std::vector<std::int32_t> ids{0, 7, 39, 12, 3, 3, 25, 31, 18, 9, 1, 2, 0, 38, 11, 5, 6, 4};
  return {.input = {ids, Sequences({0, 13, 18})}, .targets = ids};
}

/// What the golden numbers of a translation model are of; two texts for other models.
Batch batch_of(const std::string& name) {
  const auto golden = read_safetensors((data / (name + "-golden.safetensors")).string()).tensors;
  if (!golden.contains("source.ids")) return two_texts();
  const auto integers = [&](const std::string& tensor) {
    const auto values = golden.at(tensor).values<std::int32_t>();
    return std::vector<std::int32_t>(values.begin(), values.end());
  };
  const auto ragged = [&](const std::string& side) {
    return RaggedTokens{integers(side + ".ids"), Sequences(integers(side + ".offsets"))};
  };
  return {.source = ragged("source"), .segments = {}, .input = ragged("input"), .targets = integers("target.ids")};
}

struct Case {
  std::string name;
  nlohmann::json changes;
};

void PrintTo(const Case& one, std::ostream* stream) {
  *stream << one.name;
}

class GgufModelOf : public testing::TestWithParam<Case> {
 protected:
  Scratch scratch_;
};

TEST_P(GgufModelOf, HasTheLogitsOfItsDirectory) {
  const auto& [name, changes] = GetParam();
  copy_model(name, changes, scratch_ / "model");
  const auto expected_model = load_model(scratch_ / "model");
  const auto model = load_model(data / "gguf" / (name + ".gguf"));
  Context ctx;
  const Tensor expected = expected_model->logits(ctx, batch_of(GetParam().name));
  const Tensor found = model->logits(ctx, batch_of(GetParam().name));
  ASSERT_EQ(found.shape(), expected.shape());
  for (std::int64_t i = 0; i < found.count(); ++i) {
    ASSERT_NEAR(found.data<float>()[i], expected.data<float>()[i], 1e-4) << "element " << i;
  }
}

TEST_P(GgufModelOf, IsTheSameModelWhereItStaysInTheFile) {
  const fs::path file = data / "gguf" / (GetParam().name + ".gguf");
  Context ctx;
  const Tensor expected = load_model(file)->logits(ctx, batch_of(GetParam().name));
  const Tensor found = map_model(file)->logits(ctx, batch_of(GetParam().name));
  ASSERT_EQ(found.shape(), expected.shape());
  EXPECT_TRUE(std::ranges::equal(found.values<float>(), expected.values<float>()));
}

TEST_P(GgufModelOf, IsWrittenAsTheSameDirectory) {
  const auto& [name, changes] = GetParam();
  copy_model(name, changes, scratch_ / "model");
  const auto json_of = [](const ModelConfig& config) {
    auto json = nlohmann::json::parse(config_text(config));
    for (const char* token : {"eos_token_id", "pad_token_id"}) json.erase(token);
    return json;
  };
  EXPECT_EQ(json_of(read_config(data / "gguf" / (name + ".gguf"))), json_of(read_config(scratch_ / "model")));
}

const nlohmann::json llama3_rope{{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                                 {"factor", 8.0},           {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};

/// What all published models have.
const nlohmann::json t5_changes{{"relative_attention_max_distance", 128}, {"dropout_rate", 0.1}};

INSTANTIATE_TEST_SUITE_P(
    Families, GgufModelOf,
    testing::Values(Case{"llama-tiny", nlohmann::json::object()}, Case{"llama-linear-tiny", nlohmann::json::object()},
                    Case{"llama3-tiny", {{"rope_parameters", llama3_rope}}},
                    Case{"llama-yarn-tiny", nlohmann::json::object()},
                    Case{"qwen2-tiny", {{"use_sliding_window", false}}}, Case{"qwen3-tiny", nlohmann::json::object()},
                    Case{"gemma2-tiny", {{"query_pre_attn_scalar", 6}}}, Case{"mistral-tiny", nlohmann::json::object()},
                    Case{"gpt2-tiny", {{"attn_pdrop", 0.1}, {"embd_pdrop", 0.1}, {"resid_pdrop", 0.1}}},
                    Case{"gpt_neox-tiny", nlohmann::json::object()},
                    Case{"gpt_neox-parallel-tiny", nlohmann::json::object()}, Case{"t5-tiny", t5_changes},
                    Case{"t5-gated-tiny", t5_changes}),
    [](const auto& param) {
      std::string name = param.param.name;
      std::ranges::replace(name, '-', '_');
      return name;
    });

class GgufEncoderOf : public testing::TestWithParam<std::string> {};

TEST_P(GgufEncoderOf, HasTheHiddenStatesOfTransformers) {
  const auto golden = read_safetensors((data / (GetParam() + "-golden.safetensors")).string()).tensors;
  const auto integers = [&](const std::string& name) {
    const auto values = golden.at(name).values<std::int32_t>();
    return std::vector<std::int32_t>(values.begin(), values.end());
  };
  const RaggedTokens source{integers("source.ids"), Sequences(integers("source.offsets"))};
  const auto segments = golden.contains("segments") ? integers("segments") : std::vector<std::int32_t>();
  const Tensor& expected = golden.at("hidden");
  const fs::path file = data / "gguf" / (GetParam() + ".gguf");
  Context ctx;
  for (const auto& model : {load_model(file), map_model(file)}) {
    const Tensor found = model->encode(ctx, source, segments).values.value();
    ASSERT_EQ(found.shape(), expected.shape());
    for (std::int64_t i = 0; i < found.count(); ++i)
      ASSERT_NEAR(found.data<float>()[i], expected.data<float>()[i], 1e-4) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GgufEncoderOf,
                         testing::Values("bert-tiny", "roberta-tiny", "xlm-roberta-tiny", "distilbert-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(GgufEncoder, IsBertOrDistilBertByItsSegments) {
  const auto family_of = [](const char* name) { return read_config(data / "gguf" / name).family; };
  EXPECT_EQ(family_of("bert-tiny.gguf"), "bert");
  EXPECT_EQ(family_of("xlm-roberta-tiny.gguf"), "bert");
  EXPECT_EQ(family_of("distilbert-tiny.gguf"), "distilbert");
  const ModelConfig roberta = read_config(data / "gguf" / "roberta-tiny.gguf");
  EXPECT_EQ(roberta.max_positions, 32) << "of 34 rows";
  EXPECT_EQ(roberta.position_offset, 0);
  EXPECT_EQ(roberta.token_types, 1);
}

TEST(GgufEncoder, OfT5IsTheEncoderOfTheWhole) {
  const RaggedTokens source = batch_of("t5-tiny").source;
  const auto whole = load_model(data / "gguf" / "t5-tiny.gguf");
  const fs::path file = data / "gguf" / "t5encoder-tiny.gguf";
  EXPECT_TRUE(read_config(file).encoder_only());
  Context ctx;
  const Tensor expected = whole->encode(ctx, source).values.value();
  for (const auto& model : {load_model(file), map_model(file)}) {
    const Tensor found = model->encode(ctx, source).values.value();
    EXPECT_TRUE(std::ranges::equal(found.values<float>(), expected.values<float>()));
  }
}

TEST(GgufNeox, TurnsSoManyDimensionsAsTheFileSays) {
  const auto config_with = [](std::uint32_t d_head, std::uint32_t turned) {
    const GgufBytes bytes{
        .keys = {gguf_string("general.architecture", "gptneox"), gguf_u32("gptneox.block_count", 1),
                 gguf_u32("gptneox.embedding_length", d_head), gguf_u32("gptneox.attention.head_count", 1),
                 gguf_u32("gptneox.context_length", 64), gguf_u32("gptneox.feed_forward_length", 8),
                 gguf_f32("gptneox.attention.layer_norm_epsilon", 1e-5F),
                 gguf_u32("gptneox.rope.dimension_count", turned)},
        .infos = {gguf_info("token_embd.weight", {d_head, 4}, 0, 0)},
        .data = std::size_t{16} * d_head};
    const Scratch scratch;
    put(scratch / "model.gguf", bytes.text());
    return gguf_config(read_gguf(scratch / "model.gguf"));
  };
  for (std::uint32_t d_head = 2; d_head < 100; d_head += 2) {
    for (std::uint32_t turned = 2; turned <= d_head; turned += 2)
      ASSERT_EQ(rotary_frequencies(config_with(d_head, turned)).size(), turned / 2) << turned << " of " << d_head;
  }
  EXPECT_EQ(config_with(64, 16).rotary_fraction, 0.25);
  EXPECT_TRUE(refuses([&] { config_with(8, 10); }, "model.gguf: key \"gptneox.rope.dimension_count\""));
}

TEST(GgufParts, AreTheModelInOneFile) {
  const fs::path parts = data / "gguf" / "parts-00001-of-00003.gguf";
  Context ctx;
  const Tensor expected = load_model(data / "gguf" / "llama-tiny.gguf")->logits(ctx, two_texts());
  for (const auto& model : {load_model(parts), map_model(parts)}) {
    EXPECT_TRUE(std::ranges::equal(model->logits(ctx, two_texts()).values<float>(), expected.values<float>()));
  }
}

/// A model of the architecture with such keys for its rotary embedding, read as far as its configuration.
RotaryScaling scaling_with(const std::vector<std::string>& keys) {
  GgufBytes bytes{.keys = {gguf_string("general.architecture", "llama"), gguf_u32("llama.block_count", 1),
                           gguf_u32("llama.embedding_length", 8), gguf_u32("llama.attention.head_count", 1),
                           gguf_u32("llama.context_length", 64), gguf_u32("llama.feed_forward_length", 8),
                           gguf_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F),
                           gguf_string("llama.rope.scaling.type", "yarn")},
                  .infos = {gguf_info("token_embd.weight", {8, 4}, 0, 0)},
                  .data = 128};
  bytes.keys.insert(bytes.keys.end(), keys.begin(), keys.end());
  const Scratch scratch;
  put(scratch / "model.gguf", bytes.text());
  return gguf_config(read_gguf(scratch / "model.gguf")).rotary_scaling;
}

const std::string yarn_factor = gguf_f32("llama.rope.scaling.factor", 4);

TEST(GgufYarn, KeysAreThoseOfConfigJson) {
  const RotaryScaling plain = scaling_with({yarn_factor});
  EXPECT_EQ(plain.kind, RotaryScaling::Kind::yarn);
  EXPECT_EQ(plain.factor, 4);
  EXPECT_EQ(plain.original_positions, 64) << "the context of the file";
  EXPECT_EQ(plain.beta_fast, 32);
  EXPECT_EQ(plain.beta_slow, 1);
  EXPECT_TRUE(plain.truncate);
  const double recommended = 1 + 0.1 * std::log(4.);
  EXPECT_DOUBLE_EQ(plain.attention_factor, recommended);

  const RotaryScaling full = scaling_with(
      {yarn_factor, gguf_u32("llama.rope.scaling.original_context_length", 16),
       gguf_key("llama.rope.scaling.finetuned", GgufType::boolean, raw(true)),
       gguf_f32("llama.rope.scaling.yarn_ext_factor", 1), gguf_f32("llama.rope.scaling.yarn_attn_factor", 1.1F),
       gguf_f32("llama.rope.scaling.yarn_beta_fast", 16), gguf_f32("llama.rope.scaling.yarn_beta_slow", 2),
       gguf_f32("llama.rope.scaling.yarn_log_multiplier", 0)});
  EXPECT_EQ(full.original_positions, 16);
  EXPECT_DOUBLE_EQ(full.attention_factor, 1.1);
  EXPECT_EQ(full.beta_fast, 16);
  EXPECT_EQ(full.beta_slow, 2);

  const std::string attention = gguf_f32("llama.rope.scaling.attn_factor", 0.5);
  EXPECT_DOUBLE_EQ(scaling_with({yarn_factor, attention}).attention_factor, 0.5 * recommended);
}

TEST(GgufYarn, WhatWouldComputeSomethingElseIsRefused) {
  const auto refused = [](const std::vector<std::string>& keys, std::string_view message) {
    return refuses([&] { scaling_with(keys); }, "model.gguf: key \"llama.rope.scaling.", message);
  };
  EXPECT_TRUE(refused({}, "factor\" is missing"));
  EXPECT_TRUE(refused({gguf_f32("llama.rope.scaling.factor", 0)}, "factor\": expected an f32 or f64 from 1 to "));
  EXPECT_TRUE(refused({yarn_factor, gguf_u32("llama.rope.scaling.original_context_length", 0)},
                      "original_context_length\": expected an integer from 1 to "));
  EXPECT_TRUE(refused({yarn_factor, gguf_f32("llama.rope.scaling.yarn_ext_factor", 0.5)},
                      "yarn_ext_factor\": expected an f32 or f64 from 1 to 1, found 0.5"));
  EXPECT_TRUE(refused({yarn_factor, gguf_f32("llama.rope.scaling.yarn_log_multiplier", 0.1F)},
                      "yarn_log_multiplier\": expected an f32 or f64 from 0 to 0, found 0.1"));
  EXPECT_TRUE(refused({yarn_factor, gguf_f32("llama.rope.scaling.attn_factor", 0)}, "attn_factor\": expected"));
  EXPECT_TRUE(refused({yarn_factor, gguf_f32("llama.rope.scaling.alpha", 1)}, "alpha\" (1) may change what"));
}

TEST(GgufTensors, BlocksAreUnpackedWhenTheyAreRead) {
  constexpr std::uint32_t q8_0 = 8;
  constexpr std::int64_t vocab = 3;
  constexpr std::int64_t width = 32;
  GgufBytes bytes{.keys = {gguf_string("general.architecture", "llama"), gguf_u32("llama.block_count", 1),
                           gguf_u32("llama.embedding_length", width), gguf_u32("llama.attention.head_count", 1)},
                  .infos = {gguf_info("token_embd.weight", {width, vocab}, q8_0, 0)}};
  std::string text = bytes.text();
  for (std::int64_t row = 0; row < vocab; ++row) {
    text += raw(std::uint16_t{0x3c00});  // the scale: 1 in f16
    for (std::int64_t i = 0; i < width; ++i) text += static_cast<char>(10 * row + i - 16);
  }
  text.resize((text.size() + 31) / 32 * 32, '\0');
  Scratch scratch;
  put(scratch / "model.gguf", text);
  const CheckpointTensors tensors = gguf_tensors(std::make_shared<const Gguf>(read_gguf(scratch / "model.gguf")));
  const CheckpointTensor& table = tensors.at("model.embed_tokens.weight");
  EXPECT_EQ(table.shape, (Shape{vocab, width}));
  // The second time, pages come from the file again.
  for (int time = 0; time < 2; ++time) {
    const Tensor whole = table.read();
    const Tensor some = table.read_rows(std::vector{2, 0});
    for (std::int64_t i = 0; i < width; ++i) {
      EXPECT_EQ(whole.data<float>()[width + i], static_cast<float>(10 + i - 16));
      EXPECT_EQ(some.data<float>()[i], static_cast<float>(20 + i - 16));
      EXPECT_EQ(some.data<float>()[width + i], static_cast<float>(i - 16));
    }
  }
}

class GgufFileWith : public testing::Test {
 protected:
  /// Loads a golden file in which a piece was replaced by one of the same length.
  template <typename... Parts>
  testing::AssertionResult refused(const std::string& name, std::string_view old, std::string_view replacement,
                                   Parts... parts) const {
    std::string bytes = get(data / "gguf" / (name + ".gguf"));
    const std::size_t place = bytes.find(old);
    if (place == std::string::npos || old.size() != replacement.size())
      return testing::AssertionFailure() << "no " << old;
    put(scratch_ / "model.gguf", bytes.replace(place, old.size(), replacement));
    return refuses([&] { load_model(scratch_ / "model.gguf"); }, "model.gguf: ", parts...);
  }

  Scratch scratch_;
};

TEST_F(GgufFileWith, WhatRaptDoesNotKnowIsRefused) {
  EXPECT_TRUE(refused(
      "llama-tiny", std::string_view("\5\0\0\0\0\0\0\0llama", 13), std::string_view("\5\0\0\0\0\0\0\0mamba", 13),
      "key \"general.architecture\": expected one of llama, qwen2, qwen3, gemma2, gpt2, gptneox, bert, t5, "
      "t5encoder, found \"mamba\""));
  EXPECT_TRUE(refused("llama-tiny", "llama.rope.dimension_count", "llama.rope.dimension_xxxxx",
                      "key \"llama.rope.dimension_xxxxx\" (4) may change what the model computes"));
  EXPECT_TRUE(
      refused("llama-linear-tiny", "linear", "magick", "\"llama.rope.scaling.type\": expected none, linear or yarn"));
  EXPECT_TRUE(refused("llama-tiny", "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight",
                      "tensor \"blk.1.ffn_xx.weight\" [24, 16]: a llama model has no such tensor"));
  EXPECT_TRUE(refused("llama-tiny", "blk.1.ffn_up.weight", "blk.7.ffn_up.weight",
                      "tensor \"blk.1.ffn_up.weight\" is missing; the metadata asks for it, with shape [24, 16]"));
  EXPECT_TRUE(refused("qwen2-tiny", "blk.0.attn_norm.weight", "blk.0.attn_norm.wxxxxx", "a qwen2 model has no such"));
}

TEST_F(GgufFileWith, WhatAnEncoderCannotBeIsRefused) {
  const auto boolean = [](char value) { return std::string("attention.causal\7\0\0\0", 20) + value; };
  EXPECT_TRUE(
      refused("bert-tiny", boolean(0), boolean(1), "key \"bert.attention.causal\": expected false, found true"));
  EXPECT_TRUE(refused("bert-tiny", "bert.attention.causal", "bert.attention.xxxxxx",
                      "key \"bert.attention.xxxxxx\" (false) may change what the model computes"));
  EXPECT_TRUE(refused("bert-tiny", "blk.1.attn_q.bias", "blk.1.attn_x.bias", "a bert model has no such tensor"));
  EXPECT_TRUE(refused("bert-tiny", std::string("token_type_count\4\0\0\0\2", 21),
                      std::string("token_type_count\4\0\0\0\3", 21), "token_type_count\": expected"));
  // Rows of the table of positions that no token has make it longer than the context.
  EXPECT_TRUE(refused("roberta-tiny", std::string("context_length\4\0\0\0\40", 19),
                      std::string("context_length\4\0\0\0\36", 19),
                      "tensor \"position_embd.weight\" is [32, 16], the metadata asks for [30, 16]"));
}

TEST_F(GgufFileWith, WhatAT5CannotBeIsRefused) {
  EXPECT_TRUE(refused("t5-tiny", "enc.blk.1.attn_norm.weight", "enc.blk.1.attn_rel_b.weigh", "a t5 model has no such"));
  EXPECT_TRUE(refused("t5-tiny", "dec.blk.0.attn_rel_b.weight", "enc.blk.1.attn_rel_b.weight",
                      "each layer has relative positions of its own, as in UMT5, which rapt does not compute"));
  EXPECT_TRUE(refused("t5-tiny", "t5.attention.relative", "t5.attention.xelative", "may change what the model"));
  EXPECT_TRUE(refused("t5-gated-tiny", std::string_view("\15\0\0\0\0\0\0\0output.weight", 21),
                      std::string_view("\15\0\0\0\0\0\0\0xutput.weight", 21),
                      "tensor \"output.weight\" is missing, which T5 1.1, Flan-T5 and mT5 have"));
  const std::string layers("decoder_block_count\4\0\0\0", 23);
  EXPECT_TRUE(refused("t5-tiny", layers + std::string("\2\0\0\0", 4), layers + std::string("\0\0\0\1", 4),
                      "key \"t5.decoder_block_count\": expected an integer from 1 to "));
}

TEST_F(GgufFileWith, G10_SizesAreCheckedBeforeTheModelIsMade) {
  const auto number = [](std::string_view key, std::uint32_t value) {
    std::string text(key);
    for (const std::uint32_t part : {4U, value}) text.append(reinterpret_cast<const char*>(&part), sizeof part);
    return text;
  };
  EXPECT_TRUE(
      refused("llama-tiny", number("block_count", 2), number("block_count", 1'000'000'000), "llama.block_count"));
  EXPECT_TRUE(refused("llama-tiny", number("vocab_size", 40), number("vocab_size", 41), "\"llama.vocab_size\""));
  EXPECT_TRUE(refused("llama-tiny", number("head_count_kv", 2), number("head_count_kv", 3), "head_count_kv\""));
  EXPECT_TRUE(refused("llama-tiny", number("value_length", 4), number("value_length", 8), "value_length\""));
  EXPECT_TRUE(refused("llama-tiny", number("feed_forward_length", 24), number("feed_forward_length", 1 << 20),
                      "tensor \"blk.0.ffn_gate.weight\" is [24, 16], the metadata asks for [1048576, 16]"));
}

TEST_F(GgufFileWith, FactorsOfNoKnownModelAreRefused) {
  const float one = 1;
  const std::string_view first(reinterpret_cast<const char*>(&one), sizeof one);
  const Gguf file = read_gguf(data / "gguf" / "llama3-tiny.gguf");
  const std::span<const std::byte> factors = file.tensor("rope_freqs.weight").bytes;
  const std::string_view old(reinterpret_cast<const char*>(factors.data()), factors.size());
  ASSERT_EQ(old.substr(0, 4), first);
  EXPECT_TRUE(refused("llama3-tiny", old, std::string(old.substr(4)) + std::string(first),
                      "tensor \"rope_freqs.weight\": expected the factors of Llama 3.1"));
}

}  // namespace
}  // namespace rapt
