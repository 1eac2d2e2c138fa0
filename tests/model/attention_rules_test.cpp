#include "model/attention_rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/transformer.h"

namespace rapt {
namespace {

ModelConfig translator() {
  return {.vocab = 20,
          .d_model = 16,
          .encoder_layers = 3,
          .decoder_layers = 2,
          .encoder_heads = 2,
          .decoder_heads = 2,
          .encoder_ff = 32,
          .decoder_ff = 32,
          .decoder_start = 0,
          .dropout = 0,
          .embedding_dropout = 0};
}

ModelConfig with(const std::string& rules, ModelConfig config = translator()) {
  choose_attention(parse_attention_rules(rules), config);
  return config;
}

template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

TEST(LayerAttention, TextsAreReadBack) {
  for (const char* text : {"full", "causal", "window(255, 0)", "causal & (prefix(4) | strided(8))", "linear elu",
                           "linear relu", "linear favor(256)", "linear favor(32, 7)", "retention", "gated_delta"}) {
    EXPECT_EQ(LayerAttention::parse(text).text(), text);
  }
  EXPECT_EQ(LayerAttention::parse(" linear  favor( 256 , 1 ) ").text(), "linear favor(256)");
}

TEST(LayerAttention, ErrorsSayWhere) {
  const std::vector<std::pair<std::string, std::string>> examples{
      {"linear",
       "attention: \"linear\", column 7: expected a linear form: elu, relu or favor(FEATURES), found the end"},
      {"linear softmax", "column 8: expected a linear form: elu, relu or favor(FEATURES), found \"softmax\""},
      {"linear favor", "column 8: expected favor(FEATURES[, SEED]), found \"favor\" with 0 arguments"},
      {"linear favor(0)", "column 14: expected at least one feature, found \"0\""},
      {"linear favor(1000000)", "column 14: expected a number from 0 to 16384"},
      {"linear elu & causal", "column 12: expected the end, found \"&\""},
      {"retention(3)", "column 10: expected the end, found \"(\""},
      {"gated_delta & causal", "column 13: expected the end, found \"&\""},
  };
  for (const auto& [text, expected] : examples) {
    const std::string message = error_of([&text = text] { LayerAttention::parse(text); });
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  }
}

TEST(AttentionRules, LaterOnesWin) {
  EXPECT_EQ(attention_text(translator()), "encoder = full; decoder = causal; cross = full");
  EXPECT_EQ(attention_text(with("linear elu")), "encoder = linear elu; decoder = linear elu; cross = full");
  EXPECT_EQ(attention_text(with("window(3, 3); encoder.1-2 = prefix(4); decoder.0=retention;cross = linear relu")),
            "encoder.0 = window(3, 3); encoder.1-2 = prefix(4); decoder.0 = retention; decoder.1 = window(3, 3); cross "
            "= linear relu");
  EXPECT_EQ(with("").encoder_attention.size(), 0U);
}

TEST(AttentionRules, HaveOneSpelling) {
  const std::string text = "decoder = causal & window(4, 0); decoder.1 = linear elu; encoder.0-2 = full; prefix(2)";
  EXPECT_EQ(text_of(parse_attention_rules(text)), text);
  EXPECT_EQ(
      text_of(parse_attention_rules("decoder=causal&window(4,0) ;decoder.1-1=linear elu;encoder.0-2=full;prefix(2);")),
      text);
}

TEST(AttentionRules, AreRefusedWhereTheyMakeNoSense) {
  ModelConfig language_model = translator();
  language_model.encoder_layers = 0;
  const std::vector<std::pair<std::string, std::string>> examples{
      {"decoder window(3, 0)", "column 9: expected \"=\" or \".\", found \"window\""},
      {"decoder.1 window(3, 0)", "column 11: expected \"=\" or \"-\", found \"window\""},
      {"decoder.x = full", "column 9: expected a number"},
      {"decoder = full cross = full", "column 16: expected \";\" or the end, found \"cross\""},
      {"decoder.2 = full", "attention \"decoder.2 = full\": the decoder has layers 0 to 1"},
      {"decoder.1-0 = full", "the decoder has layers 0 to 1"},
      {"retention", "model: encoder attention 0: retention is causal"},
      {"cross = retention", "model: cross attention 0: retention is causal"},
      {"gated_delta",
       "model: encoder attention 0: gated_delta is causal and fits a decoder's self-attention only (\"decoder = "
       "gated_delta\")"},
      {"cross.1 = gated_delta", "model: cross attention 1: gated_delta is causal"},
      {"cross = window(3, 3)", "depends on the position of the query"},
      {"decoder = causal(start)", "without \"start\""},
      {"decoder = big_bird(64)", "no blocks or big_bird"},
  };
  for (const auto& [rules, expected] : examples) {
    const std::string message = error_of([&rules = rules] { with(rules); });
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\ninstead of " << expected;
  }
  EXPECT_EQ(error_of([&] { with("encoder = full", language_model); }),
            "attention \"encoder = full\": this model has no encoder");
  EXPECT_EQ(error_of([&] { with("cross = full", language_model); }),
            "attention \"cross = full\": this model has no cross-attention");
}

TEST(ModelConfig, ChecksTheNumberOfLayers) {
  ModelConfig config = translator();
  config.encoder_attention.resize(2);
  EXPECT_EQ(error_of([&] { check(config); }),
            "model: attention of 2 encoder layers is given, there are 3; give one for each, or one for all");
  config.encoder_attention.resize(3);
  EXPECT_NO_THROW(check(config));
  config.encoder_attention[1].linear = LayerAttention::Linear{.kind = attention::LinearForm::Kind::gated_delta};
  EXPECT_NE(error_of([&] { check(config); }).find("encoder attention 1: gated_delta is causal"), std::string::npos);
}

/// What a token's logits depend on, found by changing every input token before and after it.
class Influence {
 public:
  explicit Influence(const std::string& rules) {
    ModelConfig config = translator();
    config.encoder_layers = 0;
    config.decoder_layers = 1;
    config.d_model = 32;
    model_ = std::make_unique<Transformer>(with(rules, config), DType::f64);
    model_->initialize(5);
    for (std::int32_t i = 0; i < length; ++i) text_.push_back(i % 7);
    logits_ = of(text_);
  }
  /// Whether changing token `key` changes the logits at `query`.
  bool reaches(std::int32_t query, std::int32_t key) {
    std::vector<std::int32_t> changed = text_;
    changed[static_cast<std::size_t>(key)] = 13;
    const Tensor logits = of(changed);
    double difference = 0;
    for (std::int64_t i = query * 20; i < (query + 1) * 20; ++i) {
      difference = std::max(difference, std::abs(logits.data<double>()[i] - logits_.data<double>()[i]));
    }
    return difference > 1e-12;  // favor rounds relative to maxima that later keys have a part in
  }
  static constexpr std::int32_t length = 12;

 private:
  Tensor of(const std::vector<std::int32_t>& text) {
    Batch batch{.input = RaggedTokens::of(std::span(&text, 1))};
    return model_->logits(ctx_, batch).clone();
  }

  Context ctx_{{.compute = DType::f64}};
  std::unique_ptr<Transformer> model_;
  std::vector<std::int32_t> text_;
  Tensor logits_;
};

TEST(Transformer, DecoderLayersSeeWhatTheyChoseAndNeverAhead) {
  struct Example {
    const char* rules;
    bool (*sees)(std::int32_t query, std::int32_t key);
  };
  const Example examples[] = {
      {"full", [](std::int32_t query, std::int32_t key) { return key <= query; }},
      {"window(3, 5)", [](std::int32_t query, std::int32_t key) { return key <= query && key >= query - 3; }},
      {"window(2, 0) | prefix(1)",
       [](std::int32_t query, std::int32_t key) { return key <= query && (key >= query - 2 || key == 0); }},
      {"linear elu", [](std::int32_t query, std::int32_t key) { return key <= query; }},
      {"linear favor(8)", [](std::int32_t query, std::int32_t key) { return key <= query; }},
      {"retention", [](std::int32_t query, std::int32_t key) { return key <= query; }},
      {"gated_delta", [](std::int32_t query, std::int32_t key) { return key <= query; }},
  };
  for (const Example& example : examples) {
    SCOPED_TRACE(example.rules);
    Influence influence(example.rules);
    for (std::int32_t query = 0; query < Influence::length; ++query) {
      for (std::int32_t key = 0; key < Influence::length; ++key) {
        EXPECT_EQ(influence.reaches(query, key), example.sees(query, key)) << query << " sees " << key;
      }
    }
  }
}

}  // namespace
}  // namespace rapt
