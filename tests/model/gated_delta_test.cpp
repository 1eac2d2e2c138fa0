// Models whose layers attend by the gated delta rule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/gradient_check.h"
#include "model/attention_rules.h"
#include "model/transformer.h"

namespace rapt {
namespace {

ModelConfig language_model() {
  return {.vocab = 12,
          .d_model = 16,
          .encoder_layers = 0,
          .decoder_layers = 2,
          .decoder_heads = 4,
          .decoder_kv_heads = 2,
          .decoder_ff = 24,
          .norm = NormPlacement::pre,
          .positions = Positions::rotary,
          .dropout = 0,
          .embedding_dropout = 0};
}

ModelConfig translator() {
  return {.vocab = 12,
          .d_model = 8,
          .encoder_layers = 1,
          .decoder_layers = 1,
          .encoder_heads = 2,
          .decoder_heads = 2,
          .encoder_ff = 8,
          .decoder_ff = 8,
          .decoder_start = 0,
          .dropout = 0,
          .embedding_dropout = 0};
}

std::unique_ptr<Transformer> model_of(ModelConfig config, const std::string& rules, DType dtype = DType::f32) {
  choose_attention(parse_attention_rules(rules), config);
  auto model = std::make_unique<Transformer>(config, dtype);
  model->initialize(3);
  return model;
}

Batch batch_of(const ModelConfig& config) {
  const std::vector<std::vector<std::int32_t>> texts{{3, 7, 1, 9, 2, 2, 5}, {4}, {1, 2, 11}};
  Batch batch{.input = RaggedTokens::of(texts)};
  if (config.encoder_decoder()) batch.source = batch.input;
  for (std::int32_t i = 0; i < 11; ++i) batch.targets.push_back((5 * i + 2) % 12);
  return batch;
}

/// d loss / d each of some elements of each parameter, from the tape and from central differences, in float64.
TEST(GatedDelta, GradientsOfAWholeModelMatchDifferences) {
  for (const ModelConfig& config : {language_model(), translator()}) {
    const auto model = model_of(config, "decoder = gated_delta", DType::f64);
    const Batch batch = batch_of(config);
    Context ctx({.threads = 2, .compute = DType::f64});
    // Larger gates' weights than a new model's, so that what flows through them counts.
    std::uint64_t seed = 7;
    for (const Parameter& parameter : model->parameters()) {
      if (!parameter.name.ends_with("alpha.weight") && !parameter.name.ends_with("beta.weight")) continue;
      testing::fill_random(parameter.value(), seed++, 0.5);
      parameter.weight->changed();
    }
    const auto loss = [&] { return model->loss(ctx, batch, {}).negative_log_likelihood; };
    Tape tape;
    ctx.tape = &tape;
    model->loss(ctx, batch, {.gradient_scale = 1});
    tape.run_backward(ctx);
    ctx.tape = nullptr;
    for (const Parameter& parameter : model->parameters()) {
      SCOPED_TRACE(parameter.name);
      const Tensor gradient = parameter.gradient();
      ASSERT_TRUE(gradient.defined());
      const std::int64_t step = std::max<std::int64_t>(1, gradient.count() / 13);
      for (std::int64_t i = 0; i < gradient.count(); i += step) {
        constexpr double h = 1e-5;
        double& x = parameter.value().write<double>()[i];
        const double kept = x;
        const auto loss_at = [&](double value) {
          x = value;
          parameter.weight->changed();
          return loss();
        };
        const double expected = (loss_at(kept + h) - loss_at(kept - h)) / (2 * h);
        loss_at(kept);
        EXPECT_NEAR(gradient.data<double>()[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << i;
      }
    }
  }
}

TEST(GatedDelta, StartsWithTheRangesOfThePaper) {
  ModelConfig config = language_model();
  config.d_model = 512;
  config.decoder_heads = config.decoder_kv_heads = 256;
  const auto model = model_of(config, "decoder.1 = gated_delta");
  int seen = 0;
  for (const Parameter& parameter : model->parameters()) {
    EXPECT_TRUE(parameter.name.starts_with("decoder.1.") || parameter.name.find("alpha") == std::string::npos);
    const bool rate = parameter.name.ends_with("a_log");
    if (!rate && !parameter.name.ends_with("dt_bias")) continue;
    ++seen;
    double least = 1e9, most = 0, sum = 0;
    for (const float value : parameter.value().values<float>()) {
      const double number = rate ? std::exp(double{value}) : std::log10(std::log1p(std::exp(double{value}))) + 3;
      least = std::min(least, number);
      most = std::max(most, number);
      sum += number / 256;
    }
    EXPECT_GE(least, rate ? 0 : -1e-3);
    EXPECT_LE(most, rate ? 16.001 : 2.001);
    EXPECT_NEAR(sum, rate ? 8 : 1, rate ? 1 : 0.13) << "the mean of a uniform distribution";
  }
  EXPECT_EQ(seen, 2);
}

TEST(GatedDelta, SameBitsForAnyNumberOfThreadsAndInAnyBatch) {
  const auto model = model_of(language_model(), "decoder = gated_delta");
  const Batch batch = batch_of(model->config());
  const auto run = [&](int threads, DType compute) {
    Context ctx({.threads = threads, .compute = compute});
    Tape tape;
    ctx.tape = &tape;
    const double loss = model->loss(ctx, batch, {.gradient_scale = 1}).negative_log_likelihood;
    tape.run_backward(ctx);
    std::vector<Tensor> gradients;
    for (const WeightPtr& weight : distinct_weights(model->parameters())) {
      gradients.push_back(weight->gradient().clone());
      weight->clear_gradient();
    }
    return std::pair(loss, gradients);
  };
  for (const DType compute : {DType::f32, DType::bf16}) {
    const auto [loss, gradients] = run(1, compute);
    EXPECT_TRUE(std::isfinite(loss));
    for (const int threads : {2, 3}) {
      const auto [other, others] = run(threads, compute);
      EXPECT_EQ(loss, other);
      for (std::size_t i = 0; i < gradients.size(); ++i)
        EXPECT_EQ(std::memcmp(gradients[i].raw(), others[i].raw(), gradients[i].bytes()), 0) << i;
    }
  }
  Context ctx;
  const Tensor together = model->logits(ctx, batch).clone();
  Batch alone{.input = RaggedTokens::of(std::vector<std::vector<std::int32_t>>{{1, 2, 11}}), .targets = {0, 0, 0}};
  const Tensor last = together.rows(8, 11);
  EXPECT_EQ(std::memcmp(model->logits(ctx, alone).raw(), last.raw(), last.bytes()), 0);
}

TEST(GatedDelta, Bf16IsCloseToF32) {
  const auto model = model_of(language_model(), "decoder = gated_delta");
  const Batch batch = batch_of(model->config());
  Context wide, narrow({.compute = DType::bf16});
  const double expected = model->loss(wide, batch, {}).negative_log_likelihood;
  EXPECT_NEAR(model->loss(narrow, batch, {}).negative_log_likelihood, expected, 0.01 * expected);
}

}  // namespace
}  // namespace rapt
