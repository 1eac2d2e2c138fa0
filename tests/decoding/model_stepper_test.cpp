// Real models in the searches: the tiny ones of script/goldens/model.py.
#include "decoding/model_stepper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "decoding/beam.h"
#include "decoding/generate.h"
#include "decoding/translation.h"
#include "families/checkpoint.h"

namespace rapt::decoding {
namespace {

const std::string data = RAPT_TEST_DATA;

using Ids = std::vector<std::int32_t>;

RaggedTokens ragged(const std::vector<Ids>& lists) {
  return RaggedTokens::of(lists);
}

const std::vector<std::string> language_models{
    "gpt2-tiny",    "gpt_neox-tiny", "gpt2-scaled-tiny", "gpt_neox-parallel-tiny",
    "llama-tiny",   "llama3-tiny",   "llama-yarn-tiny",  "llama-linear-tiny",
    "mistral-tiny", "qwen2-tiny",    "qwen3-tiny",       "gemma2-tiny"};

const std::vector<std::string> translation_models{"marian-tiny", "bart-tiny",     "mbart-tiny", "m2m_100-tiny",
                                                  "t5-tiny",     "t5-gated-tiny", "mt5-tiny"};

/// Gates of the gated delta rule, where layers attend by it, are drawn.
std::unique_ptr<Transformer> load_with(const std::string& name, const std::string& rules) {
  return load_accounted_model(data + "/" + name, parse_attention_rules(rules), 1).model;
}

nlohmann::json generation(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(data + "/" + name + "-generation.json"));
}

/// The logits of every position of one sequence, without a cache.
Tensor uncached(Context& ctx, const Transformer& model, const Ids& source, const Ids& input) {
  Batch batch{.input = ragged({input})};
  if (!source.empty()) batch.source = ragged({source});
  batch.targets.resize(input.size());
  return model.logits(ctx, batch);
}

void expect_row(const Tensor& logits, std::int64_t row, const Tensor& expected, std::int64_t expected_row) {
  for (std::int64_t j = 0; j < logits.dim(1); ++j) {
    ASSERT_NEAR(logits.data<float>()[row * logits.dim(1) + j],
                expected.data<float>()[expected_row * expected.dim(1) + j], 2e-5)
        << "token " << j;
  }
}

/// A text whose first `prompt` tokens are read together and the others one by one, in a cache that holds it exactly,
/// against the logits of the whole text.
void expect_cached_is_uncached(Context& ctx, const Transformer& model, const Ids& text, std::size_t prompt,
                               const Tensor& expected) {
  ModelStepper stepper(ctx, model, {.capacity = static_cast<std::int32_t>(text.size())});
  Tensor logits = stepper.step(ctx, ragged({Ids(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(prompt))}));
  expect_row(logits, 0, expected, static_cast<std::int64_t>(prompt) - 1);
  for (std::size_t i = prompt; i < text.size(); ++i) {
    logits = stepper.step(ctx, ragged({{text[i]}}));
    expect_row(logits, 0, expected, static_cast<std::int64_t>(i));
  }
  EXPECT_THROW(stepper.step(ctx, ragged({{1}})), Error) << "the cache is full";
}

TEST(ModelStepper, CachedEqualsUncachedForAnyPrompt) {
  for (const std::string& name : language_models) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    Context ctx;
    const Ids text{3, 17, 8, 30, 2, 2, 11, 25};
    const Tensor expected = uncached(ctx, *model, {}, text);
    for (const std::size_t prompt : {1, 3, 8}) expect_cached_is_uncached(ctx, *model, text, prompt, expected);
  }
}

/// Rows of attention that are few enough go through other loops, which add up in another order; with chunks of 9
/// tokens, none are.
TEST(ModelStepper, APromptInChunksIsThePromptAtOnce) {
  Ids text;
  for (std::int32_t i = 0; i < 31; ++i) text.push_back((7 * i + 3) % 40);
  for (const std::string& name : language_models) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    const std::vector<Ids> prompts{
        text, {5}, Ids(text.begin() + 3, text.begin() + 25), Ids(text.begin(), text.begin() + 9)};
    for (const int threads : {1, 2}) {
      Context ctx({.threads = threads});
      const auto logits_of = [&](std::int32_t chunk) {
        ModelStepper stepper(ctx, *model, {.sequences = 4, .max_hypotheses = 4, .capacity = 32, .chunk = chunk});
        const Tensor logits = stepper.step(ctx, ragged(prompts));
        EXPECT_EQ(stepper.length(0), 31);
        return logits;
      };
      const Tensor whole = logits_of(512);
      for (std::int64_t row = 0; row < 4; ++row) {
        expect_row(logits_of(1), row, whole, row);
        expect_row(logits_of(3), row, whole, row);
        expect_row(logits_of(10), row, whole, row);
      }
      ModelStepper alone(ctx, *model, {.capacity = 32, .chunk = 9});
      const Tensor of_first = alone.step(ctx, ragged({text}));
      const Tensor together = logits_of(9);
      EXPECT_EQ(std::memcmp(of_first.raw(), together.raw(), of_first.bytes()), 0) << "alone and in a batch";
    }
  }
}

TEST(ModelStepper, LinearLayersReadPromptsInChunks) {
  for (const char* rules : {"decoder.0 = retention; decoder.1 = linear elu", "gated_delta"}) {
    SCOPED_TRACE(rules);
    const auto model = load_with("gpt2-tiny", rules);
    Context ctx;
    const std::vector<Ids> prompts{{3, 17, 8, 30, 2, 2, 11, 25, 9, 9, 1}, {5, 6}};
    ModelStepper whole(ctx, *model, {.sequences = 2, .max_hypotheses = 2, .capacity = 12});
    const Tensor expected = whole.step(ctx, ragged(prompts));
    for (const std::int32_t chunk : {1, 2, 4}) {
      ModelStepper stepper(ctx, *model, {.sequences = 2, .max_hypotheses = 2, .capacity = 12, .chunk = chunk});
      const Tensor logits = stepper.step(ctx, ragged(prompts));
      for (std::int64_t row = 0; row < 2; ++row) expect_row(logits, row, expected, row);
    }
  }
}

TEST(ModelStepper, ForgetsWhatItIsToldTo) {
  for (const char* rules : {"", "decoder.1 = retention"}) {
    SCOPED_TRACE(rules);
    const auto model = load_model(data + "/gpt2-tiny", DType::f32, parse_attention_rules(rules));
    Context ctx;
    ModelStepper stepper(ctx, *model, {.capacity = 30});
    stepper.step(ctx, ragged({{3, 17, 8, 30, 2}}));
    stepper.shorten(0, 9);
    EXPECT_EQ(stepper.length(0), 5);
    stepper.shorten(0, 2);
    EXPECT_EQ(stepper.length(0), *rules == 0 ? 2 : 0) << "a linear layer cannot go back";
    const Ids text{3, 17, 21, 22};
    const Tensor logits = stepper.step(ctx, ragged({Ids(text.begin() + stepper.length(0), text.end())}));
    expect_row(logits, 0, uncached(ctx, *model, {}, text), 3);
  }
}

TEST(ModelStepper, CanBeStoppedBetweenChunksAndGoOn) {
  const auto model = load_model(data + "/llama-tiny");
  Context ctx;
  const Ids text{3, 17, 8, 30, 2, 2, 11, 25, 9, 14, 1};
  int calls = 0;
  ModelStepper stepper(ctx, *model,
                       {.capacity = 12, .chunk = 2, .before_chunk = [&](std::int64_t done, std::int64_t all) {
                          EXPECT_EQ(done, 2 * (calls % 3));
                          EXPECT_EQ(all, calls < 3 ? 11 : 7);
                          if (++calls == 3) throw std::runtime_error("enough");
                        }});
  EXPECT_THROW(stepper.step(ctx, ragged({text})), std::runtime_error);
  EXPECT_EQ(stepper.length(0), 4);
  const Tensor logits = stepper.step(ctx, ragged({Ids(text.begin() + 4, text.end())}));
  expect_row(logits, 0, uncached(ctx, *model, {}, text), 10);
}

/// Keys and values of another type than is computed with, as exact as that type is.
TEST(ModelStepper, TheCacheMayHaveItsOwnType) {
  for (const std::string name : {"llama-tiny", "gpt2-tiny", "gemma2-tiny", "qwen3-tiny"}) {
    const auto model = load_model(data + "/" + name);
    const Ids text{3, 17, 8, 30, 2, 2, 11, 25, 9, 14, 1};
    for (const DType compute : {DType::f32, DType::bf16}) {
      Context ctx({.compute = compute});
      const Tensor expected = uncached(ctx, *model, {}, text);
      for (const DType cache : {DType::f32, DType::bf16}) {
        ModelStepper stepper(ctx, *model, {.capacity = 20, .cache = cache});
        stepper.step(ctx, ragged({Ids(text.begin(), text.begin() + 7)}));
        const Tensor logits = stepper.step(ctx, ragged({Ids(text.begin() + 7, text.end())}));
        const bool exact = compute == DType::f32 && cache == DType::f32;
        double difference = 0;
        for (std::int64_t j = 0; j < logits.dim(1); ++j) {
          const Tensor row = expected.rows(10, 11);
          const float wanted = compute == DType::f32 ? row.data<float>()[j] : static_cast<float>(row.data<bf16>()[j]);
          difference = std::max<double>(difference, std::abs(logits.data<float>()[j] - wanted));
        }
        EXPECT_LT(difference, exact ? 2e-5 : 0.05) << name << " " << name_of(compute) << " " << name_of(cache);
        if (compute == DType::f32 && cache == DType::bf16) {
          EXPECT_GT(difference, 1e-7) << "nothing was rounded";
        }
      }
    }
  }
}

/// A cache that grows: more tokens than it takes memory for at first, and hypotheses that multiply.
TEST(ModelStepper, TheCacheGrows) {
  const auto model = load_model(data + "/llama-tiny");
  Context ctx;
  Ids text{5};
  ModelStepper stepper(ctx, *model, {.max_hypotheses = 2, .capacity = 1 << 20});
  Tensor logits = stepper.step(ctx, ragged({text}));
  while (text.size() < 150) {
    text.push_back(static_cast<std::int32_t>((text.size() * 7) % 40));
    logits = stepper.step(ctx, ragged({{text.back()}}));
  }
  expect_row(logits, 0, uncached(ctx, *model, {}, text), 149);
  stepper.reorder(Ids{0, 0});
  for (int i = 0; i < 100; ++i) logits = stepper.step(ctx, ragged({{i % 40}, {(3 * i) % 40}}));
  Ids second = text;
  for (std::int32_t i = 0; i < 100; ++i) {
    text.push_back(i % 40);
    second.push_back((3 * i) % 40);
  }
  expect_row(logits, 0, uncached(ctx, *model, {}, text), 249);
  expect_row(logits, 1, uncached(ctx, *model, {}, second), 249);
}

/// transformers' greedy search, for prompts of 1 to 20 tokens in one batch.
TEST(Generation, IsThatOfTransformers) {
  for (const std::string& name : language_models) {
    SCOPED_TRACE(name);
    const auto golden = generation(name);
    const auto model = load_model(data + "/" + name);
    Context ctx;
    std::vector<Ids> prompts;
    for (const auto& c : golden["cases"]) prompts.push_back(c["prompt"].get<Ids>());
    ASSERT_EQ(prompts.size(), 20U);
    ModelStepper stepper(ctx, *model, {.sequences = 20, .max_hypotheses = 20, .capacity = 32});
    Ids stop = model->config().more_eos;
    stop.push_back(model->config().eos);
    GenerationOptions options;
    options.sampling.temperature = 0;
    options.stop = stop;
    options.max_tokens = 12;
    const auto texts = generate(ctx, stepper, ragged(prompts), options);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      Ids expected = golden["cases"][i]["greedy"].get<Ids>();
      if (std::ranges::find(stop, expected.back()) != stop.end()) expected.pop_back();
      EXPECT_EQ(texts[i].tokens, expected) << "case " << i;
    }
  }
}

/// transformers' beam search, all prompts in one batch.
TEST(Generation, BeamsAreThoseOfTransformers) {
  for (const std::string& name : language_models) {
    SCOPED_TRACE(name);
    const auto golden = generation(name);
    const auto model = load_model(data + "/" + name);
    std::vector<Ids> prompts;
    for (const auto& c : golden["cases"]) prompts.push_back(c["prompt"].get<Ids>());
    BeamOptions options{.eos = model->config().eos, .more_eos = model->config().more_eos, .max_length = 12};
    for (const int threads : {1, 2}) {
      Context ctx({.threads = threads});
      ModelStepper stepper(ctx, *model, {.sequences = 20, .max_hypotheses = 80, .capacity = 40});
      const auto found = beam_search(ctx, stepper, ragged(prompts), {}, options);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        Ids written = found[i].front().tokens;
        if (found[i].front().end) written.push_back(*found[i].front().end);
        const auto& expected = golden["cases"][i]["beam4_mean"];
        EXPECT_EQ(written, expected["ids"].get<Ids>()) << "case " << i;
        EXPECT_NEAR(found[i].front().log_probability, expected["log_probability"].get<double>(), 1e-4) << "case " << i;
        ModelStepper alone(ctx, *model, {.max_hypotheses = 4, .capacity = 40});
        const auto by_itself = beam_search(ctx, alone, ragged({prompts[i]}), {}, options);
        EXPECT_EQ(by_itself[0].front().log_probabilities, found[i].front().log_probabilities) << "case " << i;
      }
    }
  }
}

/// transformers' beam search with a repetition penalty: over the prompt and the text of language models, and over what
/// the decoder has read in models that translate.
TEST(Generation, PenalisedBeamsAreThoseOfTransformers) {
  const auto golden = nlohmann::json::parse(std::ifstream(data + "/decoding/repetition_penalty.json"));
  for (const std::string name : {"marian-tiny", "mbart-tiny", "t5-tiny", "gpt2-tiny", "llama-tiny", "qwen2-tiny"}) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    const ModelConfig& config = model->config();
    Context ctx;
    for (const auto& c : golden[name]) {
      const Ids input = c["input"].get<Ids>();
      const auto penalty = c["penalty"].get<double>();
      Hypothesis best;
      if (config.encoder_decoder()) {
        best = translate(ctx, *model, std::vector<Ids>{input},
                         {.length_penalty = LengthPenalty::average,
                          .repetition_penalty = penalty,
                          .max_length_factor = 0,
                          .max_length_offset = 12})[0]
                   .front();
      } else {
        ModelStepper stepper(ctx, *model, {.max_hypotheses = 4, .capacity = 40});
        best = beam_search(
                   ctx, stepper, ragged({input}), {},
                   {.repetition_penalty = penalty, .eos = config.eos, .more_eos = config.more_eos, .max_length = 12})[0]
                   .front();
      }
      Ids written = best.tokens;
      if (best.end) written.push_back(*best.end);
      EXPECT_EQ(written, c["ids"].get<Ids>()) << c;
      EXPECT_NEAR(best.score, c["score"].get<double>(), 1e-4) << c;
    }
  }
}

/// transformers' beam search into a language: the first token forced (mBART-50, M2M-100, NLLB), or the decoder begun
/// with it (the first mBART).
TEST(Translation, IntoALanguageIsThatOfTransformers) {
  const auto golden = nlohmann::json::parse(std::ifstream(data + "/decoding/forced_language.json"));
  for (const std::string name : {"mbart-tiny", "m2m_100-tiny"}) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    Context ctx;
    for (const auto& c : golden[name]) {
      TranslationOptions options{
          .length_penalty = LengthPenalty::average, .max_length_factor = 0, .max_length_offset = 12};
      if (c.contains("forced_bos_token_id")) options.forced_bos = c["forced_bos_token_id"].get<std::int32_t>();
      if (c.contains("decoder_start_token_id")) options.decoder_start = c["decoder_start_token_id"].get<std::int32_t>();
      const Hypothesis best = translate(ctx, *model, std::vector<Ids>{c["source"].get<Ids>()}, options)[0].front();
      Ids written = best.tokens;
      if (best.end) written.push_back(*best.end);
      EXPECT_EQ(written, c["ids"].get<Ids>()) << c;
      EXPECT_NEAR(best.score, c["score"].get<double>(), 1e-4) << c;
    }
  }
}

TEST(ModelStepper, HypothesesKeepTheirPastWhenTheyAreReordered) {
  const auto model = load_model(data + "/marian-tiny");
  Context ctx;
  const std::vector<Ids> sources{{5, 9, 0}, {7, 7, 12, 30, 0}};
  const std::int32_t start = model->config().decoder_start;
  ModelStepper stepper(ctx, *model, ragged(sources), {.max_hypotheses = 4, .capacity = 16});
  stepper.step(ctx, ragged({{start}, {start}}));
  stepper.reorder(Ids{0, 0, 1, 1});
  stepper.step(ctx, ragged({{1}, {2}, {3}, {4}}));
  // The first sentence's hypotheses change places, one of the second's leaves and the other is continued twice.
  stepper.reorder(Ids{1, 0, 3, 3});
  const Tensor logits = stepper.step(ctx, ragged({{21}, {22}, {23}, {24}}));
  EXPECT_EQ(stepper.hypotheses(), 4);
  const std::vector<std::pair<int, Ids>> texts{
      {0, {start, 2, 21}}, {0, {start, 1, 22}}, {1, {start, 4, 23}}, {1, {start, 4, 24}}};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(i);
    expect_row(logits, static_cast<std::int64_t>(i),
               uncached(ctx, *model, sources[static_cast<std::size_t>(texts[i].first)], texts[i].second), 2);
  }
}

constexpr const char* layer_choices[] = {"window(2, 0)",
                                         "window(1, 0) | prefix(2)",
                                         "strided(3) | window(1, 0)",
                                         "global_queries(3) | global_keys(1)",
                                         "linear elu",
                                         "linear relu",
                                         "linear favor(16)",
                                         "retention",
                                         "gated_delta",
                                         "decoder.0 = causal; decoder.1 = gated_delta",
                                         "decoder.0 = linear elu; decoder.1 = window(3, 0)"};

TEST(ModelStepper, CachedEqualsUncachedHoweverLayersAttend) {
  for (const char* name : {"gpt2-tiny", "gpt_neox-tiny", "llama3-tiny", "qwen3-tiny"}) {
    for (const char* rules : layer_choices) {
      SCOPED_TRACE(std::string(name) + ", " + rules);
      const auto model = load_with(name, rules);
      Context ctx;
      const Ids text{3, 17, 8, 30, 2, 2, 11, 25, 6, 19, 4};
      const Tensor expected = uncached(ctx, *model, {}, text);
      for (const std::size_t prompt : {1, 3, 7}) expect_cached_is_uncached(ctx, *model, text, prompt, expected);
    }
  }
}

TEST(ModelStepper, LinearLayersKeepAStateForEachHypothesis) {
  for (const char* rules : {"linear elu; cross = linear elu", "decoder = retention; cross = linear favor(16)",
                            "decoder = gated_delta", "decoder.1 = gated_delta; cross = linear elu",
                            "decoder.0 = linear relu; decoder.1 = window(1, 0); cross = prefix(2)"}) {
    SCOPED_TRACE(rules);
    const auto model = load_with("marian-tiny", rules);
    Context ctx;
    const std::vector<Ids> sources{{5, 9, 0}, {7, 7, 12, 30, 0}};
    const std::int32_t start = model->config().decoder_start;
    ModelStepper stepper(ctx, *model, ragged(sources), {.max_hypotheses = 5, .capacity = 16});
    stepper.step(ctx, ragged({{start}, {start, 8}}));
    stepper.reorder(Ids{0, 0, 1, 1});
    stepper.step(ctx, ragged({{1}, {2}, {3}, {4, 5}}));
    stepper.reorder(Ids{1, 0, 3, 3, 2});
    stepper.step(ctx, ragged({{21}, {22}, {23}, {24}, {25}}));
    stepper.reorder(Ids{1, 2, 4});
    const Tensor logits = stepper.step(ctx, ragged({{31}, {32}, {33}}));
    const std::vector<std::pair<int, Ids>> texts{
        {0, {start, 1, 22, 31}}, {1, {start, 8, 4, 5, 23, 32}}, {1, {start, 8, 3, 25, 33}}};
    for (std::size_t i = 0; i < texts.size(); ++i) {
      SCOPED_TRACE(i);
      const auto& [source, text] = texts[i];
      expect_row(logits, static_cast<std::int64_t>(i),
                 uncached(ctx, *model, sources[static_cast<std::size_t>(source)], text), std::ssize(text) - 1);
    }
  }
}

/// transformers' greedy and beam search over the same model.
void expect_translations_of_transformers(const std::string& name_of_model) {
  const auto golden = generation(name_of_model);
  const auto model = load_model(data + "/" + name_of_model);
  Context ctx;
  std::vector<Ids> sources;
  for (const auto& c : golden["cases"]) sources.push_back(c["source"].get<Ids>());
  ASSERT_EQ(sources.size(), 20U);
  struct Search {
    const char* name;
    TranslationOptions options;
  };
  const Search searches[] = {{"greedy", {.beam = 1, .length_penalty = LengthPenalty::average, .alpha = 0}},
                             {"beam4", {.beam = 4, .length_penalty = LengthPenalty::average, .alpha = 0}},
                             {"beam4_mean", {.beam = 4, .length_penalty = LengthPenalty::average, .alpha = 1}}};
  for (const auto& [name, options] : searches) {
    const auto found = translate(ctx, *model, sources, options);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const Hypothesis& best = found[i].front();
      Ids ids = best.tokens;
      if (best.end) ids.push_back(model->config().eos);
      const auto& expected = golden["cases"][i][name];
      EXPECT_EQ(ids, expected["ids"].get<Ids>()) << name << ", case " << i;
      EXPECT_NEAR(best.log_probability, expected["log_probability"].get<double>(), 1e-4) << name << ", case " << i;
    }
  }
}

TEST(Translation, IsThatOfTransformers) {
  for (const std::string& name : translation_models) {
    SCOPED_TRACE(name);
    expect_translations_of_transformers(name);
  }
}

/// The decoder token by token against all at once, for sources of different lengths in one batch.
TEST(Translation, CachedEqualsUncached) {
  for (const std::string& name : translation_models) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    Context ctx;
    const std::vector<Ids> sources{{5, 9, 30, 8, 8, 21, model->config().eos}, {7, model->config().eos}};
    const Ids input{model->config().decoder_start, 12, 4, 4, 33, 9, 17};
    ModelStepper stepper(ctx, *model, ragged(sources), {.max_hypotheses = 2, .capacity = 8});
    const Tensor first = uncached(ctx, *model, sources[0], input);
    const Tensor second = uncached(ctx, *model, sources[1], input);
    for (std::size_t i = 0; i < input.size(); ++i) {
      const Tensor logits = stepper.step(ctx, ragged({{input[i]}, {input[i]}}));
      expect_row(logits, 0, first, static_cast<std::int64_t>(i));
      expect_row(logits, 1, second, static_cast<std::int64_t>(i));
    }
  }
}

/// A prefix that the search would have written anyway changes nothing but its own log-probability.
TEST(Translation, BeginsWithItsPrefix) {
  for (const char* name : {"marian-tiny", "mbart-tiny", "t5-tiny"}) {
    SCOPED_TRACE(name);
    const auto model = load_model(data + "/" + name);
    Context ctx;
    const std::vector<Ids> sources{{5, 9, 30, 8, 21, 12, 33, model->config().eos}, {7, 7, model->config().eos}};
    TranslationOptions options{.beam = 1};
    const auto free = translate(ctx, *model, sources, options);
    const std::size_t forced = model->config().forced_bos >= 0 ? 1 : 0;
    const Ids& tokens = free[0][0].tokens;
    ASSERT_GT(tokens.size(), forced + 1);
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(forced);
    options.prefixes = {Ids(begin, begin + 1), {11}};
    const auto found = translate(ctx, *model, sources, options);
    EXPECT_EQ(found[0][0].tokens, tokens);
    EXPECT_EQ(found[0][0].log_probabilities[forced], 0);
    ASSERT_GT(found[1][0].tokens.size(), forced);
    EXPECT_EQ(found[1][0].tokens[forced], 11);
    const auto alone = translate(ctx, *model, std::span(sources).subspan(1), {.beam = 1, .prefixes = {{11}}});
    EXPECT_EQ(alone[0][0].tokens, found[1][0].tokens);
    EXPECT_EQ(alone[0][0].log_probability, found[1][0].log_probability);
  }
}

TEST(Translation, OfASentenceIsTheSameAloneAndForAnyThreads) {
  const auto model = load_model(data + "/marian-tiny");
  Context one({.threads = 1});
  Context two({.threads = 2});
  std::vector<Ids> sources;
  for (std::int32_t i = 0; i < 9; ++i) sources.push_back(Ids(static_cast<std::size_t>(1 + i % 5), 3 + i));
  for (Ids& source : sources) source.push_back(model->config().eos);
  const auto together = translate(one, *model, sources, {.nbest = 4, .batch_tokens = 16});
  const auto threaded = translate(two, *model, sources, {.nbest = 4, .batch_tokens = 1000});
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto alone = translate(one, *model, std::span(&sources[i], 1), {.nbest = 4});
    for (std::size_t n = 0; n < 4; ++n) {
      EXPECT_EQ(together[i][n].tokens, alone[0][n].tokens);
      EXPECT_EQ(together[i][n].score, alone[0][n].score);
      EXPECT_EQ(threaded[i][n].score, alone[0][n].score);
    }
  }
}

}  // namespace
}  // namespace rapt::decoding
