// Whole models against Hugging Face transformers: logits, loss and the gradient of every parameter. The golden numbers
// come from script/goldens/model.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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
