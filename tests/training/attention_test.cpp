// Training with any attention, and what it costs to evaluate with another.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "families/checkpoint.h"
#include "training/evaluation.h"
#include "training/toy.h"

namespace rapt::training {
namespace {

const Settings memorising{{"d-model", "32"},       {"d-ff", "64"},
                          {"dropout", "0"},        {"steps", "250"},
                          {"batch-tokens", "400"}, {"schedule", "constant"},
                          {"vocab-size", "50"},    {"learning-rate", "0.003"},
                          {"average", "0"},        {"validate-every", "250"},
                          {"save-every", "0"},     {"validate-sentences", "10"},
                          {"metric", "bleu"}};

/// Ten sentences are learnt by heart, whatever the layers attend with, and greedy search writes them back.
TEST(Attention, AnyOfThemLearnsTenSentencesByHeart) {
  const Scratch scratch;
  const ToyPairs pairs = toy_pairs(10, 5);
  put(scratch / "en", pairs.source);
  put(scratch / "de", pairs.target);
  const ParallelFiles files{scratch / "en", scratch / "de"};
  int run = 0;
  for (const char* rules : {"window(1, 1)", "linear elu; cross = linear elu", "linear favor(64)", "decoder = retention",
                            "decoder = gated_delta", "encoder = linear relu; decoder = strided(2) | window(1, 0)"}) {
    SCOPED_TRACE(rules);
    Settings settings = memorising;
    settings.emplace_back("attention", rules);
    Listener listener;
    const auto output = scratch / std::to_string(run++);
    run_toy(toy_request({.pairs = files, .dev_pairs = files, .text = {}, .dev_text = {}}, output, settings), listener);
    ASSERT_EQ(listener.validations.size(), 1U);
    EXPECT_DOUBLE_EQ(listener.validations[0].score.bleu.value(), 100);
    EXPECT_LT(listener.validations[0].score.loss, 0.2);
    ModelConfig expected = load_model(output)->config();
    choose_attention(parse_attention_rules(rules), expected);
    EXPECT_EQ(attention_text(load_model(output)->config()), attention_text(expected)) << "the checkpoint says so";
  }
}

/// Places are written to over and over, and read: token 4 p + v writes v to place p, token 16 + p asks for what was
/// written there last, and the answers are all that is to be predicted.
Batch written_and_read(RandomSequence& random) {
  constexpr int texts = 16, rounds = 12, places = 4;
  std::vector<std::vector<std::int32_t>> inputs;
  Batch batch;
  for (int text = 0; text < texts; ++text) {
    std::vector<std::int32_t> input;
    std::int32_t last[places] = {};
    const auto write = [&](std::int32_t place) {
      last[place] = static_cast<std::int32_t>(random.below(4));
      input.push_back(4 * place + last[place]);
    };
    for (std::int32_t place = 0; place < places; ++place) write(place);
    for (int round = 0; round < rounds; ++round) {
      write(static_cast<std::int32_t>(random.below(places)));
      const auto asked = static_cast<std::int32_t>(random.below(places));
      batch.predicted.push_back(text * (places + 2 * rounds) + static_cast<std::int32_t>(std::ssize(input)));
      batch.targets.push_back(last[asked]);
      input.push_back(16 + asked);
    }
    inputs.push_back(std::move(input));
  }
  batch.input = RaggedTokens::of(inputs);
  return batch;
}

/// The loss that a layer of two heads comes to in the above: the mean over the last steps.
double loss_of_reading(const std::string& rules) {
  ModelConfig config{.vocab = 20,
                     .d_model = 32,
                     .encoder_layers = 0,
                     .decoder_layers = 1,
                     .decoder_heads = 2,
                     .decoder_ff = 32,
                     .norm = NormPlacement::pre,
                     .positions = Positions::rotary,
                     .dropout = 0,
                     .embedding_dropout = 0};
  choose_attention(parse_attention_rules(rules), config);
  Transformer model(config);
  model.initialize(1);
  Optimizer optimizer(model.parameters(), {});
  Context ctx({.threads = 1});
  RandomSequence random(7);
  constexpr int steps = 600, last = 50;
  double loss = 0;
  for (int step = 0; step < steps; ++step) {
    Tape tape;
    ctx.tape = &tape;
    const Batch batch = written_and_read(random);
    const double scale = 1 / static_cast<double>(batch.target_tokens());
    const double of_step = model.loss(ctx, batch, {.gradient_scale = scale}).loss * scale;
    if (step >= steps - last) loss += of_step / last;
    tape.run_backward(ctx);
    ctx.tape = nullptr;
    optimizer.update(ctx, 0.004, 1);
    optimizer.clear_gradients();
  }
  return loss;
}

/// What the gated delta rule is for: a state of fixed size in which what is written last counts.
TEST(Attention, TheGatedDeltaRuleOverwritesWhereRetentionAddsUp) {
  EXPECT_LT(loss_of_reading("gated_delta"), 0.1);
  EXPECT_GT(loss_of_reading("retention"), 0.2);
}

RunRequest language_request(const Scratch& scratch, const std::string& name, const std::string& rules) {
  RunRequest request{.output = scratch / name,
                     .files = {.pairs = {}, .dev_pairs = {}, .text = scratch / "text", .dev_text = {}},
                     .recipe = "nanogpt-cpu",
                     .settings = {{"decoder-layers", "2"},
                                  {"d-model", "32"},
                                  {"d-ff", "64"},
                                  {"heads", "2"},
                                  {"dropout", "0.1"},
                                  {"attention-dropout", "0.1"},
                                  {"context", "24"},
                                  {"sequences", "8"},
                                  {"steps", "40"},
                                  {"warmup", "5"},
                                  {"learning-rate", "0.01"},
                                  {"save-every", "10"},
                                  {"validate-every", "20"}},
                     .threads = 1,
                     .gauge_seconds = 0};
  if (!rules.empty()) request.settings.emplace_back("attention", rules);
  return request;
}

TEST(Attention, IsResumedBitForBit) {
  const Scratch scratch;
  const ToyPairs pairs = toy_pairs(100, 3);
  put(scratch / "text", pairs.source + pairs.target);
  int run = 0;
  for (const std::string rules : {"decoder.0 = linear favor(16); decoder.1 = window(4, 0)",
                                  "decoder.0 = gated_delta; decoder.1 = window(4, 0)"}) {
    SCOPED_TRACE(rules);
    const std::string straight = "straight" + std::to_string(run);
    const std::string halted = "stopped" + std::to_string(run++);
    Listener listener;
    run_toy(language_request(scratch, straight, rules), listener);
    const auto told = [&](const std::string& what) {
      return std::ranges::any_of(listener.notes,
                                 [&](const auto& note) { return note.find(what) != std::string::npos; });
    };
    EXPECT_TRUE(told("attention: " + rules));
    EXPECT_TRUE(told("no weights to drop"));
    Listener stopped;
    run_toy(language_request(scratch, halted, rules), stopped, 10);
    RunRequest rest{.output = scratch / halted,
                    .files = {},
                    .recipe = "",
                    .settings = {{"attention", "linear elu"}},
                    .resume = true,
                    .threads = 1,
                    .gauge_seconds = 0};
    EXPECT_TRUE(refuses([&] { run_toy(rest); }, "--attention " + rules, "linear elu"));
    rest.settings = {{"attention", "  " + rules + ";"}};
    run_toy(rest);
    for (const char* file : {"model.safetensors", "config.json"})
      EXPECT_EQ(get(scratch / straight / file), get(scratch / halted / file)) << file;
  }
}

TEST(Attention, MakesNoSenseWhereRecipesSaySo) {
  const Scratch scratch;
  put(scratch / "text", toy_pairs(100, 3).source);
  EXPECT_TRUE(
      refuses([&] { run_toy(language_request(scratch, "out", "windw(3)")); }, "attention: \"windw(3)\", column 1"));
  EXPECT_TRUE(refuses([&] { run_toy(language_request(scratch, "out", "encoder = full")); }, "no encoder"));
  EXPECT_TRUE(refuses([&] { run_toy(language_request(scratch, "out", "decoder.2 = full")); }, "layers 0 to 1"));
}

TEST(Attention, OfATrainedModelHasAPriceToReadOff) {
  const Scratch scratch;
  const ToyPairs pairs = toy_pairs(200, 3);
  put(scratch / "text", pairs.source);
  run_toy(language_request(scratch, "out", ""));
  const auto tokenizer = load_tokenizer(scratch / "out");
  const auto ids = tokenizer->encode(toy_pairs(20, 9).source);
  Context ctx({.threads = 1});
  const auto loss = [&](const std::string& rules) {
    const auto model = load_model(scratch / "out", DType::f32, parse_attention_rules(rules));
    return evaluate_text(ctx, *model, ids, {.context = 24, .stride = 12}).loss;
  };
  const double full = loss("");
  EXPECT_EQ(loss("causal"), full);
  EXPECT_NEAR(loss("window(30, 0)"), full, 1e-5);
  const double narrow = loss("window(0, 0)");
  EXPECT_TRUE(std::isfinite(narrow));
  EXPECT_GT(narrow, full + 0.05) << "who sees itself only predicts worse";
  EXPECT_TRUE(std::isfinite(loss("linear elu")));
  EXPECT_NE(loss("linear elu"), full);
}

/// Each token but the first is scored once, with what the window shows before it.
TEST(EvaluateText, ScoresEachTokenOnce) {
  const auto model = load_model(std::string(RAPT_TEST_DATA) + "/gpt2-tiny");
  Context ctx;
  std::vector<std::int32_t> text;
  RandomSequence random(4);
  for (int i = 0; i < 50; ++i) text.push_back(static_cast<std::int32_t>(random.below(40)));
  /// -log p of text[i] after the tokens from `begin` on.
  const auto nll = [&](std::int64_t i, std::int64_t begin) {
    Batch batch{.input =
                    RaggedTokens::of(std::vector<std::vector<std::int32_t>>{{text.begin() + begin, text.begin() + i}})};
    batch.targets.assign(text.begin() + begin + 1, text.begin() + i + 1);
    const Tensor rows = Tensor::empty({i - begin}, DType::f32);
    model->loss(ctx, batch, {.row_nll = rows});
    return double{rows.data<float>()[i - begin - 1]};
  };
  struct Example {
    std::int64_t context;
    std::int64_t stride;
  };
  for (const auto& [context, stride] :
       {Example{16, 16}, Example{16, 5}, Example{7, 1}, Example{32, 32}, Example{1, 1}}) {
    double expected = 0;
    std::int64_t begin = 0;
    for (std::int64_t i = 1; i < std::ssize(text); ++i) {
      while (i > begin + context) begin += stride;
      expected += nll(i, begin);
    }
    for (const std::int64_t batch_tokens : {1, 64, 4096}) {
      double told = 0;
      const Score score =
          evaluate_text(ctx, *model, text, {.context = context, .stride = stride, .batch_tokens = batch_tokens},
                        [&](double done, double all) {
                          EXPECT_GT(done, told);
                          EXPECT_LE(done, all);
                          told = done / all == 1 ? -1 : done;
                        });
      EXPECT_EQ(told, -1) << "all windows are done at last";
      EXPECT_EQ(score.tokens, 49);
      EXPECT_NEAR(score.loss, expected / 49, 1e-5) << context << ", " << stride;
    }
  }
  EXPECT_TRUE(refuses([&] { evaluate_text(ctx, *model, text, {.context = 8, .stride = 9}); }, "a stride of 9"));
  EXPECT_TRUE(refuses([&] { evaluate_text(ctx, *model, text, {.context = 0, .stride = 1}); }, "a context of 0"));
  EXPECT_TRUE(
      refuses([&] { evaluate_text(ctx, *model, std::span(text).first(1), {.context = 8, .stride = 8}); }, "1 tokens"));
}

}  // namespace
}  // namespace rapt::training
