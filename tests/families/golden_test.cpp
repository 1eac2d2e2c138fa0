// Whole models against Hugging Face transformers: logits, loss and the gradient of every parameter. The golden numbers
// come from script/goldens/model.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "families/checkpoint.h"
#include "formats/safetensors.h"

namespace rapt {
namespace {

const std::string data = RAPT_TEST_DATA;

struct Golden {
  explicit Golden(const std::string& name)
      : tensors(read_safetensors(data + "/" + name + "-golden.safetensors").tensors) {
    if (tensors.contains("source.ids")) batch.source = ragged("source");
    if (tensors.contains("segments")) batch.segments = integers("segments");
    if (tensors.contains("input.ids")) batch.input = ragged("input");
    if (tensors.contains("target.ids")) batch.targets = integers("target.ids");
  }

  std::vector<std::int32_t> integers(const std::string& name) const {
    const auto values = tensors.at(name).values<std::int32_t>();
    return {values.begin(), values.end()};
  }
  double number(const std::string& name) const { return tensors.at(name).data<double>()[0]; }
  RaggedTokens ragged(const std::string& name) const {
    return {integers(name + ".ids"), Sequences(integers(name + ".offsets"))};
  }

  std::map<std::string, Tensor> tensors;
  Batch batch;
};

class GoldenModel : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, LogitsAreThoseOfTransformers) {
  const Golden golden(GetParam());
  const auto model = load_model(data + "/" + GetParam());
  Context ctx;
  const Tensor logits = model->logits(ctx, golden.batch);
  const Tensor& expected = golden.tensors.at("logits");
  ASSERT_EQ(logits.shape(), expected.shape());
  for (std::int64_t i = 0; i < logits.count(); ++i) {
    ASSERT_NEAR(logits.data<float>()[i], expected.data<float>()[i], 1e-4) << "element " << i;
  }
}

TEST_P(GoldenModel, LossAndGradientsAreThoseOfTransformers) {
  const Golden golden(GetParam());
  const auto model = load_model(data + "/" + GetParam(), DType::f64);
  Context ctx({.compute = DType::f64});
  Tape tape;
  ctx.tape = &tape;
  const double scale = 1.0 / static_cast<double>(golden.batch.target_tokens());
  const auto sums =
      model->loss(ctx, golden.batch, {.label_smoothing = golden.number("label_smoothing"), .gradient_scale = scale});
  EXPECT_NEAR(sums.loss * scale, golden.number("loss"), 1e-7);  // transformers makes rotary tables and masks in f32
  tape.run_backward(ctx);

  std::map<std::string, Tensor> gradients;
  for (auto& [name, tensor] :
       checkpoint_tensors(*model, [](const Parameter& parameter) { return parameter.gradient(); })) {
    gradients.emplace(name, tensor);
  }
  int compared = 0;
  for (const auto& [name, stored] : golden.tensors) {
    if (!name.starts_with("gradient.")) continue;
    const Tensor expected = stored.to(DType::f64);
    ASSERT_TRUE(gradients.contains(name.substr(9))) << name;
    const Tensor& gradient = gradients.at(name.substr(9));
    ASSERT_EQ(gradient.shape(), expected.shape()) << name;
    double largest = 1e-2;
    for (const double g : expected.values<double>()) largest = std::max(largest, std::abs(g));
    for (std::int64_t i = 0; i < gradient.count(); ++i) {
      ASSERT_NEAR(gradient.data<double>()[i], expected.data<double>()[i], 1e-6 * largest) << name << " element " << i;
    }
    ++compared;
  }
  // transformers does not learn the bias of the logits.
  EXPECT_EQ(compared, static_cast<int>(gradients.size() - gradients.count("final_logits_bias")));
}

TEST_P(GoldenModel, ComesBackFromItsOwnFilesUnchanged) {
  const auto model = load_model(data + "/" + GetParam());
  const auto original = read_safetensors_directory(data + "/" + GetParam()).tensors;
  std::map<std::string, Tensor> written;
  for (auto& [name, tensor] : checkpoint_tensors(*model)) written.emplace(name, tensor);
  for (const auto& [name, tensor] : original) {
    // A bias that is zero everywhere is as good as none.
    const bool all_zero = std::ranges::all_of(tensor.values<float>(), [](float x) { return x == 0; });
    if (name == "final_logits_bias" && all_zero) continue;
    ASSERT_TRUE(written.contains(name)) << name;
    ASSERT_TRUE(std::ranges::equal(written.at(name).values<float>(), tensor.values<float>())) << name;
  }

  Transformer copy(model->config());
  fill_parameters(copy, written, "written");
  Context ctx;
  const Golden golden(GetParam());
  const Tensor a = model->logits(ctx, golden.batch);
  const Tensor b = copy.logits(ctx, golden.batch);
  EXPECT_TRUE(std::ranges::equal(a.values<float>(), b.values<float>()));
}

TEST_P(GoldenModel, IsTheSameWhenItsFileIsMapped) {
  const Golden golden(GetParam());
  const auto copied = load_model(data + "/" + GetParam());
  const auto mapped = map_model(data + "/" + GetParam());
  for (const DType compute : {DType::f32, DType::bf16}) {
    for (const int threads : {1, 2}) {  // another number of threads may want other packs
      Context ctx({.threads = threads, .compute = compute});
      const Tensor expected = copied->logits(ctx, golden.batch);
      const Tensor logits = mapped->logits(ctx, golden.batch);
      ASSERT_EQ(std::memcmp(logits.raw(), expected.raw(), expected.bytes()), 0);
    }
  }
  EXPECT_EQ(mapped->parameter_count(), copied->parameter_count());
}

TEST_P(GoldenModel, EveryKeyAndTensorIsAccountedFor) {
  const std::string directory = data + "/" + GetParam();
  const CheckpointAccount account = account_for(directory);
  const JsonObject json = JsonObject::read(directory + "/config.json");
  EXPECT_EQ(account.understood_keys.size() + account.irrelevant_keys.size(), json.keys().size());
  EXPECT_GT(account.understood_keys.size(), 5U);
  std::vector<std::string> all = account.tensors.used;
  for (const auto* others : {&account.tensors.repeated, &account.tensors.ignored})
    all.insert(all.end(), others->begin(), others->end());
  std::ranges::sort(all);
  std::vector<std::string> in_file;
  for (const auto& [name, tensor] : read_safetensors_directory(directory).tensors) in_file.push_back(name);
  EXPECT_EQ(all, in_file);
}

TEST_P(GoldenModel, ConfigIsWrittenAsItWasRead) {
  const ModelConfig config = read_config(data + "/" + GetParam());
  const auto directory = std::filesystem::path(::testing::TempDir()) / (std::string("rapt-config-") + GetParam());
  std::filesystem::create_directories(directory);
  write_file_durably(directory / "config.json", config_text(config));
  EXPECT_EQ(config_text(read_config(directory)), config_text(config));
  std::filesystem::remove_all(directory);
}

TEST_P(GoldenModel, ResultsDoNotDependOnThreadsOrNeighbours) {
  const Golden golden(GetParam());
  const auto model = load_model(data + "/" + GetParam());
  Context one({.threads = 1});
  Context two({.threads = 2});
  const Tensor together = model->logits(one, golden.batch);
  const Tensor threaded = model->logits(two, golden.batch);
  ASSERT_TRUE(std::ranges::equal(together.values<float>(), threaded.values<float>()));
  const auto part = [](const RaggedTokens& tokens, std::int32_t i) {
    const auto first = tokens.ids.begin() + tokens.sequences.begin(i);
    return RaggedTokens{{first, first + tokens.sequences.length(i)}, Sequences({0, tokens.sequences.length(i)})};
  };
  const bool encoder = model->config().encoder_only();
  const Sequences& rows_of = encoder ? golden.batch.source.sequences : golden.batch.input.sequences;
  for (std::int32_t i = 0; i < rows_of.count(); ++i) {
    Batch alone;
    if (!encoder) alone.input = part(golden.batch.input, i);
    if (!golden.batch.source.ids.empty()) alone.source = part(golden.batch.source, i);
    if (!golden.batch.segments.empty()) {
      const auto first = golden.batch.segments.begin() + rows_of.begin(i);
      alone.segments.assign(first, first + rows_of.length(i));
    }
    alone.targets.resize(static_cast<std::size_t>(rows_of.length(i)));
    const Tensor logits = model->logits(one, alone);
    const Tensor rows = together.rows(rows_of.begin(i), rows_of.begin(i + 1));
    ASSERT_TRUE(std::ranges::equal(logits.values<float>(), rows.values<float>())) << "sequence " << i;
  }
}

/// Encoders: what their users take from them.
class GoldenEncoder : public ::testing::TestWithParam<const char*> {};

void expect_near(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.shape(), expected.shape());
  for (std::int64_t i = 0; i < actual.count(); ++i) {
    ASSERT_NEAR(actual.data<float>()[i], expected.data<float>()[i], 1e-4) << "element " << i;
  }
}

TEST_P(GoldenEncoder, HiddenAndPooledStatesAreThoseOfTransformers) {
  const Golden golden(GetParam());
  const auto model = load_model(data + "/" + GetParam());
  Context ctx;
  const Ragged hidden = model->encode(ctx, golden.batch.source, golden.batch.segments);
  expect_near(hidden.values.value(), golden.tensors.at("hidden"));
  ASSERT_EQ(model->config().heads.pooler, golden.tensors.contains("pooled"));
  if (model->config().heads.pooler) {
    expect_near(model->pool(ctx, hidden), golden.tensors.at("pooled"));
  } else {
    EXPECT_THROW(model->pool(ctx, hidden), Error);
  }
  EXPECT_THROW(model->decode(ctx, golden.batch.source, nullptr), Error) << "there is no decoder";
  if (!model->config().heads.masked_language_model) {
    EXPECT_THROW(model->logits(ctx, golden.batch), Error) << "there is no head";
  }
}

TEST_P(GoldenEncoder, SegmentsOfTokensAreAllZeroWhereNoneAreGiven) {
  const Golden golden(GetParam());
  const auto model = load_model(data + "/" + GetParam());
  Context ctx;
  const std::vector<std::int32_t> zeros(golden.batch.source.ids.size(), 0);
  const Ragged without = model->encode(ctx, golden.batch.source);
  if (model->config().token_types == 0) {
    EXPECT_THROW(model->encode(ctx, golden.batch.source, zeros), Error);
  } else {
    const Ragged with = model->encode(ctx, golden.batch.source, zeros);
    EXPECT_TRUE(std::ranges::equal(with.values.value().values<float>(), without.values.value().values<float>()));
  }
}

TEST_P(GoldenEncoder, EveryTensorComesBackFromItsOwnFiles) {
  const auto model = load_model(data + "/" + GetParam());
  std::map<std::string, Tensor> written;
  for (auto& [name, tensor] : checkpoint_tensors(*model)) written.emplace(name, tensor);
  // What a model without heads calls "encoder.x", those with heads call "bert.encoder.x".
  for (const auto& [name, tensor] : read_safetensors_directory(data + "/" + GetParam()).tensors) {
    const auto same = std::ranges::find_if(written, [&](const auto& entry) { return entry.first.ends_with(name); });
    ASSERT_NE(same, written.end()) << name;
    EXPECT_TRUE(std::ranges::equal(same->second.values<float>(), tensor.values<float>())) << name;
    written.erase(same);
  }
  EXPECT_TRUE(written.empty());
}

std::string name_of_instance(const ::testing::TestParamInfo<const char*>& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

/// binary16 by cutting digits off, and what is left of the number.
std::uint16_t to_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::abs(x) < 0x1p-14f) return 0;
  const std::uint32_t exponent = ((bits >> 23) & 0xffu) - 112;
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | exponent << 10 | (bits >> 13 & 0x3ffu));
}
float cut_to_f16(float x) {
  return std::abs(x) < 0x1p-14f ? 0 : std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffffe000u);
}

/// A copy of a golden model whose weights are stored in another type, with the f32 numbers that remain of them.
class StoredIn {
 public:
  StoredIn(const std::string& name, DType dtype) : directory_(::testing::TempDir() + "/rapt-" + name + "-stored") {
    std::filesystem::create_directories(directory_);
    std::filesystem::copy_file(data + "/" + name + "/config.json", directory_ / "config.json",
                               std::filesystem::copy_options::overwrite_existing);
    std::vector<NamedTensor> tensors;
    for (const auto& [tensor_name, tensor] : read_safetensors_directory(data + "/" + name).tensors) {
      if (dtype == DType::bf16) {
        tensors.emplace_back(tensor_name, tensor.to(DType::bf16));
        values.emplace(tensor_name, tensors.back().second.to(DType::f32));
        continue;
      }
      const Tensor half = Tensor::empty(tensor.shape(), DType::f16);
      const Tensor cut = Tensor::empty(tensor.shape(), DType::f32);
      for (std::int64_t i = 0; i < tensor.count(); ++i) {
        static_cast<std::uint16_t*>(half.raw_write())[i] = to_f16(tensor.data<float>()[i]);
        cut.write<float>()[i] = cut_to_f16(tensor.data<float>()[i]);
      }
      tensors.emplace_back(tensor_name, half);
      values.emplace(tensor_name, cut);
    }
    save_safetensors(directory_ / "model.safetensors", tensors);
  }
  ~StoredIn() { std::filesystem::remove_all(directory_); }
  const std::filesystem::path& directory() const { return directory_; }

  std::map<std::string, Tensor> values;

 private:
  std::filesystem::path directory_;
};

TEST(Checkpoint, WeightsOfSixteenBitsAreReadAsTheyAre) {
  for (const char* name : {"llama-tiny", "gpt2-tiny", "gpt_neox-tiny", "t5-gated-tiny"}) {
    for (const DType dtype : {DType::f16, DType::bf16}) {
      SCOPED_TRACE(std::string(name) + " in " + std::string(name_of(dtype)));
      const StoredIn stored(name, dtype);
      for (const auto& model : {load_model(stored.directory()), map_model(stored.directory())}) {
        std::size_t compared = 0;
        for (const auto& [tensor_name, tensor] : checkpoint_tensors(*model)) {
          if (!stored.values.contains(tensor_name)) continue;
          EXPECT_TRUE(std::ranges::equal(tensor.values<float>(), stored.values.at(tensor_name).values<float>()))
              << tensor_name;
          ++compared;
        }
        EXPECT_EQ(compared, stored.values.size());
      }
      const auto copied = load_model(stored.directory());
      const auto mapped = map_model(stored.directory());
      for (const DType compute : {DType::f32, DType::bf16}) {
        Context ctx({.compute = compute});
        const Golden golden(name);
        const Tensor expected = copied->logits(ctx, golden.batch);
        const Tensor logits = mapped->logits(ctx, golden.batch);
        EXPECT_EQ(std::memcmp(logits.raw(), expected.raw(), expected.bytes()), 0);
      }
    }
  }
}

/// What config.json says against what a Llama of this repository is, key by key.
std::string refusal_of(const std::string& name, const nlohmann::ordered_json& changes) {
  auto config = nlohmann::ordered_json::parse(std::ifstream(data + "/" + name + "/config.json"));
  if (!changes.is_null()) config.update(changes);
  const auto directory = std::filesystem::path(::testing::TempDir()) / "rapt-refused";
  std::filesystem::create_directories(directory);
  write_file_durably(directory / "config.json", config.dump());
  std::string refusal;
  try {
    (void)read_config(directory);
  } catch (const Error& error) {
    refusal = error.what();
  }
  std::filesystem::remove_all(directory);
  return refusal;
}

TEST(Config, C2_WhatRaptCannotComputeIsRefusedByName) {
  const auto refused = [](const std::string& name, const nlohmann::ordered_json& changes, const std::string& part) {
    const std::string refusal = refusal_of(name, changes);
    EXPECT_NE(refusal.find(part), std::string::npos) << changes << ": " << refusal;
  };
  const auto rope = [](const char* type) {
    return nlohmann::ordered_json{{"rope_parameters", {{"rope_type", type}, {"rope_theta", 10000.0}, {"factor", 2.0}}}};
  };
  EXPECT_EQ(refusal_of("llama-tiny", {}), "");
  refused("llama-tiny", rope("dynamic"), "rope_parameters.rope_type\": expected default, linear, llama3 or yarn");
  refused("llama-tiny", rope("longrope"), "longrope");
  refused("llama-tiny", rope("llama3"), "low_freq_factor");
  refused("llama-tiny", {{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}, {"mscale", 0.7}}}}, "mscale");
  refused("llama-tiny", {{"num_key_value_heads", 3}}, "key-value heads do not divide");
  refused("llama-tiny", {{"hidden_act", "quick_gelu"}}, "hidden_act");
  refused("llama-tiny", {{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  refused("llama-tiny", {{"model_type", "falcon"}}, "not a model that rapt knows");
  refused("gemma2-tiny", {{"layer_types", {"full_attention"}}}, "2 types, one for each layer");
  refused("gemma2-tiny", {{"layer_types", {"full_attention", "chunked_attention"}}},
          "sliding_attention or full_attention");
  refused("gemma2-tiny", {{"use_bidirectional_attention", true}}, "use_bidirectional_attention");
  refused("bert-tiny", {{"is_decoder", true}}, "is_decoder");
  refused("bert-tiny", {{"position_embedding_type", "relative_key"}}, "position_embedding_type");
  refused("roberta-tiny", {{"hidden_act", "relu"}}, "hidden_act");
  refused("t5-tiny", {{"feed_forward_proj", "gated-mish"}}, "feed_forward_proj");
  refused("bart-tiny", {{"normalize_before", true}}, "normalize_before");
}

/// transformers before version 5 wrote other keys for the same; they mean what the new ones mean.
TEST(Config, KeysOfEarlierVersionsMeanTheSame) {
  const auto changed = [](const std::string& name, const std::vector<std::string>& without,
                          const nlohmann::ordered_json& changes) {
    auto config = nlohmann::ordered_json::parse(std::ifstream(data + "/" + name + "/config.json"));
    for (const std::string& key : without) config.erase(key);
    if (!changes.is_null()) config.update(changes);
    const auto directory = std::filesystem::path(::testing::TempDir()) / "rapt-earlier";
    std::filesystem::create_directories(directory);
    write_file_durably(directory / "config.json", config.dump());
    const std::string text = config_text(read_config(directory));
    std::filesystem::remove_all(directory);
    return text;
  };
  const auto text = [](const std::string& name) { return config_text(read_config(data + "/" + name)); };
  EXPECT_EQ(changed("llama3-tiny", {"rope_parameters", "head_dim"},
                    {{"rope_theta", 10000.0},
                     {"rope_scaling",
                      {{"type", "llama3"},
                       {"factor", 4.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 16}}}}),
            text("llama3-tiny"));
  EXPECT_EQ(changed("llama-tiny", {"rope_parameters"}, {{"rope_scaling", nullptr}}), text("llama-tiny"));
  EXPECT_EQ(changed("gpt_neox-parallel-tiny", {"rope_parameters", "use_parallel_residual"},
                    {{"rotary_pct", 0.5}, {"rotary_emb_base", 10000}}),
            text("gpt_neox-parallel-tiny"));
  EXPECT_EQ(changed("gemma2-tiny", {"layer_types", "rope_parameters"}, {{"hidden_act", "gelu_pytorch_tanh"}}),
            text("gemma2-tiny"));
  EXPECT_EQ(changed("qwen2-tiny", {"layer_types"}, {}), text("qwen2-tiny"));
}

TEST(Config, NullIsNotTheDefault) {
  // Gemma's padding token is 0 where nothing is said; here null is said.
  EXPECT_EQ(read_config(data + "/gemma2-tiny").pad, -1);
  const auto windows = [](const nlohmann::ordered_json& window) {
    auto config = nlohmann::ordered_json::parse(std::ifstream(data + "/mistral-tiny/config.json"));
    config["sliding_window"] = window;
    const auto directory = std::filesystem::path(::testing::TempDir()) / "rapt-null";
    std::filesystem::create_directories(directory);
    write_file_durably(directory / "config.json", config.dump());
    const ModelConfig read = read_config(directory);
    std::filesystem::remove_all(directory);
    return layer_attention(read, AttentionKind::decoder, 1).text();
  };
  EXPECT_EQ(windows(nullptr), "causal");
  EXPECT_EQ(windows(7), "window(6, 0)");
}

TEST(Checkpoint, NamesOfEarlyBertFilesAreUnderstood) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "rapt-gamma";
  std::filesystem::create_directories(directory);
  std::filesystem::copy_file(data + "/bert-tiny/config.json", directory / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::vector<NamedTensor> renamed;
  for (const auto& [old_name, tensor] : read_safetensors_directory(data + "/bert-tiny").tensors) {
    std::string name = old_name;
    const auto replace = [&](const std::string& from, const std::string& to) {
      if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
    };
    replace("LayerNorm.weight", "LayerNorm.gamma");
    replace("LayerNorm.bias", "LayerNorm.beta");
    renamed.emplace_back(name, tensor.clone());
  }
  save_safetensors(directory / "model.safetensors", renamed);
  const Golden golden("bert-tiny");
  Context ctx;
  const Tensor logits = load_model(directory)->logits(ctx, golden.batch);
  expect_near(logits, golden.tensors.at("logits"));
  std::filesystem::remove_all(directory);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenEncoder,
                         ::testing::Values("bert-tiny", "roberta-tiny", "xlm-roberta-tiny", "distilbert-tiny"),
                         name_of_instance);

INSTANTIATE_TEST_SUITE_P(Models, GoldenModel,
                         ::testing::Values("marian-tiny", "gpt2-tiny", "gpt2-gelu-tiny", "gpt2-scaled-tiny",
                                           "gpt_neox-tiny", "gpt_neox-parallel-tiny", "llama-tiny", "llama3-tiny",
                                           "llama-yarn-tiny", "llama-linear-tiny", "mistral-tiny", "qwen2-tiny",
                                           "qwen3-tiny", "gemma2-tiny", "bert-tiny", "roberta-tiny", "distilbert-tiny",
                                           "bart-tiny", "mbart-tiny", "m2m_100-tiny", "t5-tiny", "t5-gated-tiny",
                                           "mt5-tiny"),
                         name_of_instance);

}  // namespace
}  // namespace rapt
