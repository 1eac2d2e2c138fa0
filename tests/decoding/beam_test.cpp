#include "decoding/beam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "decoding/fake_model.h"

namespace rapt::decoding {
namespace {

constexpr std::int32_t eos = 2;

using NBest = std::vector<Hypothesis>;

std::vector<NBest> search(const Model& model, const Tokens& first, const BeamOptions& options, int threads = 1,
                          const Tokens& source_lengths = {}) {
  Context ctx({.threads = threads});
  FakeStepper stepper(model, static_cast<std::int32_t>(first.size()));
  return beam_search(ctx, stepper, first_tokens(first), source_lengths, options);
}

void expect_same(const NBest& a, const NBest& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].score, b[i].score);
    EXPECT_EQ(a[i].log_probability, b[i].log_probability);
    EXPECT_EQ(a[i].end, b[i].end);
  }
}

void expect_same(const std::vector<NBest>& a, const std::vector<NBest>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) expect_same(a[i], b[i]);
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

double penalty(LengthPenalty form, double alpha, double length) {
  return std::pow(form == LengthPenalty::average ? length : (5 + length) / 6, alpha);
}

/// Every text the model can write in `limit` tokens, best first, by plain recursion in float64.
class Enumeration {
 public:
  Enumeration(const Model& model, std::int32_t first, std::int32_t limit, LengthPenalty form, double alpha)
      : model_(model), limit_(limit), form_(form), alpha_(alpha) {
    Tokens text{first};
    extend(text, 0);
    std::ranges::sort(found, std::ranges::greater(), &Hypothesis::score);
  }
  NBest found;

 private:
  void extend(Tokens& text, double log_probability) {
    const std::vector<double> next = log_softmax(model_(text));
    const auto length = static_cast<std::int32_t>(text.size());
    for (std::int32_t token = 0; token < std::ssize(next); ++token) {
      const double sum = log_probability + next[static_cast<std::size_t>(token)];
      text.push_back(token);
      if (token == eos || length == limit_) {
        found.push_back({.tokens = {text.begin() + 1, text.end() - (token == eos)},
                         .score = sum / penalty(form_, alpha_, length),
                         .log_probability = sum,
                         .end = token == eos ? std::optional(eos) : std::nullopt});
      } else {
        extend(text, sum);
      }
      text.pop_back();
    }
  }

  const Model& model_;
  std::int32_t limit_;
  LengthPenalty form_;
  double alpha_;
};

TEST(BeamSearch, AWideBeamFindsWhatEnumerationFinds) {
  constexpr std::int32_t limit = 5;
  const Model model = hash_model(4, eos, 0.5f);
  for (const LengthPenalty form : {LengthPenalty::average, LengthPenalty::paper}) {
    for (const double alpha : {-0.5, 0.0, 0.6, 1.0, 2.0}) {
      const Tokens first = {0, 1, 3};
      const auto results = search(model, first,
                                  {.beam = 324,
                                   .nbest = 10,
                                   .length_penalty = form,
                                   .alpha = alpha,
                                   .stopping = Stopping::exact,
                                   .eos = eos,
                                   .max_length = limit});
      for (std::size_t s = 0; s < first.size(); ++s) {
        const Enumeration all(model, first[s], limit, form, alpha);
        ASSERT_EQ(results[s].size(), 10u);
        for (std::size_t i = 0; i < 10; ++i) {
          EXPECT_EQ(results[s][i].tokens, all.found[i].tokens);
          EXPECT_EQ(results[s][i].end, all.found[i].end);
          EXPECT_NEAR(results[s][i].score, all.found[i].score, 1e-6);
          EXPECT_NEAR(results[s][i].log_probability, all.found[i].log_probability, 1e-6);
        }
      }
    }
  }
}

TEST(BeamSearch, ExactStoppingLosesNothingToALongerSearch) {
  const Model model = hash_model(12, eos, 1.0f);
  const Tokens first = {0, 1, 3, 4, 5, 6, 7, 8};
  for (const double alpha : {0.0, 0.6, 1.5}) {
    BeamOptions options{.beam = 6,
                        .nbest = 3,
                        .length_penalty = LengthPenalty::paper,
                        .alpha = alpha,
                        .stopping = Stopping::exact,
                        .eos = eos,
                        .max_length = 12};
    const auto stopped = search(model, first, options);
    options.nbest = 6;  // is decided later
    auto longer = search(model, first, options);
    for (NBest& nbest : longer) nbest.resize(3);
    expect_same(stopped, longer);
  }
}

TEST(BeamSearch, ExactStoppingEndsBeforeTheLimit) {
  Context ctx({.threads = 1});
  FakeStepper stepper(hash_model(12, eos, 4.0f), 1);
  beam_search(
      ctx, stepper, first_tokens({3}), {},
      {.beam = 4, .length_penalty = LengthPenalty::paper, .stopping = Stopping::exact, .eos = eos, .max_length = 200});
  EXPECT_LT(stepper.stepped.size(), 50u);
}

/// The options of transformers' generate() as ours.
BeamOptions options_of(const nlohmann::json& json) {
  BeamOptions options{.beam = json.at("num_beams"),
                      .nbest = json.at("num_beams"),
                      .alpha = json.at("length_penalty"),
                      .eos = eos,
                      .max_length = json.at("max_new_tokens")};
  const auto& early = json.at("early_stopping");
  options.stopping = early.is_string() ? Stopping::exact : early.get<bool>() ? Stopping::first : Stopping::heuristic;
  options.min_length = json.value("min_new_tokens", 0);
  for (const auto& words : json.value("bad_words_ids", nlohmann::json::array()))
    options.forbidden.push_back(words.at(0));
  if (json.contains("forced_bos_token_id")) options.bos = json.at("forced_bos_token_id").get<std::int32_t>();
  options.force_eos = json.contains("forced_eos_token_id");
  return options;
}

TEST(BeamSearch, FindsWhatTransformersFinds) {
  const auto golden = nlohmann::json::parse(std::ifstream(RAPT_TEST_DATA "/decoding/beam.json"));
  const auto first = golden.at("sentences").get<Tokens>();
  for (const auto& item : golden.at("cases")) {
    SCOPED_TRACE(item.at("options").dump());
    const BeamOptions options = options_of(item.at("options"));
    const auto results = search(hash_model(golden.at("vocab"), eos, item.at("eos_bias")), first, options);
    for (std::size_t s = 0; s < first.size(); ++s) {
      SCOPED_TRACE(s);
      const auto& expected = item.at("nbest").at(s);
      ASSERT_EQ(results[s].size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        Tokens tokens = results[s][i].tokens;
        if (results[s][i].end) tokens.push_back(eos);
        EXPECT_EQ(tokens, Tokens(expected[i].begin() + 1, expected[i].end()));
        if (options.beam > 1) {
          const double score = expected[i].at(0);  // computed in float32
          EXPECT_NEAR(results[s][i].score, score, 1e-6 * std::max(1.0, -score));
        }
      }
    }
  }
}

TEST(BeamSearch, ABeamOfOneIsGreedy) {
  const Model model = hash_model(50, eos, 1.0f);
  for (std::int32_t first = 0; first < 20; ++first) {
    Tokens text{first};
    double sum = 0;
    bool ended = false;
    while (!ended && text.size() < 13) {
      const std::vector<double> next = log_softmax(model(text));
      const auto best = std::ranges::max_element(next) - next.begin();
      sum += next[static_cast<std::size_t>(best)];
      text.push_back(static_cast<std::int32_t>(best));
      ended = best == eos;
    }
    for (const Stopping stopping : {Stopping::heuristic, Stopping::first, Stopping::exact}) {
      const NBest found = search(model, {first}, {.beam = 1, .stopping = stopping, .eos = eos, .max_length = 12})[0];
      ASSERT_EQ(found.size(), 1u);
      EXPECT_EQ(found[0].tokens, Tokens(text.begin() + 1, text.end() - ended));
      EXPECT_EQ(found[0].end.has_value(), ended);
      EXPECT_NEAR(found[0].log_probability, sum, 1e-6 * 12);
      EXPECT_NEAR(found[0].score, sum / static_cast<double>(text.size() - 1), 1e-6);
    }
  }
}

TEST(BeamSearch, ASentenceDoesNotDependOnItsBatchNorOnThreads) {
  const Model model = hash_model(300, eos, 2.5f);
  Tokens first(23);
  std::iota(first.begin(), first.end(), 10);
  for (const Stopping stopping : {Stopping::heuristic, Stopping::first, Stopping::exact}) {
    for (const std::int32_t beam : {1, 3, 5}) {
      const BeamOptions options{.beam = beam, .nbest = beam, .stopping = stopping, .eos = eos, .max_length = 15};
      const auto together = search(model, first, options);
      for (int threads = 2; threads <= 4; ++threads) expect_same(search(model, first, options, threads), together);
      for (std::size_t s = 0; s < first.size(); ++s) expect_same(search(model, {first[s]}, options)[0], together[s]);
      auto backwards = search(model, {first.rbegin(), first.rend()}, options);
      std::ranges::reverse(backwards);
      expect_same(backwards, together);
    }
  }
}

/// Writes `first` letters more and then EOS, whatever the beam.
Model countdown(std::int32_t vocab) {
  return [=](const Tokens& text) {
    std::vector<float> logits(static_cast<std::size_t>(vocab));
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = -0.01f * static_cast<float>(i);
    logits[eos] = std::ssize(text) > text.front() ? 30.0f : -30.0f;
    return logits;
  };
}

TEST(BeamSearch, FinishedSentencesLeaveTheBatch) {
  Context ctx({.threads = 1});
  FakeStepper stepper(countdown(20), 4);
  const auto results = beam_search(ctx, stepper, first_tokens({5, 3, 9, 3}), {},
                                   {.beam = 4, .stopping = Stopping::first, .eos = eos, .max_length = 20});
  // One hypothesis a sentence at first, then 4 until EOS has been written.
  EXPECT_EQ(stepper.stepped, (Tokens{4, 16, 16, 16, 8, 8, 4, 4, 4, 4}));
  EXPECT_EQ(results[0][0].tokens.size(), 5u);
  EXPECT_EQ(results[1][0].tokens.size(), 3u);
  EXPECT_EQ(results[2][0].tokens.size(), 9u);
  EXPECT_EQ(results[3][0].tokens.size(), 3u);
}

TEST(BeamSearch, GreedyReordersOnlyWhenASentenceLeaves) {
  Context ctx({.threads = 1});
  FakeStepper stepper(countdown(20), 3);
  beam_search(ctx, stepper, first_tokens({5, 3, 9}), {}, {.beam = 1, .eos = eos, .max_length = 20});
  EXPECT_EQ(stepper.stepped, (Tokens{3, 3, 3, 3, 2, 2, 1, 1, 1, 1}));
  EXPECT_EQ(stepper.reorders, 2);
}

TEST(BeamSearch, TheLengthLimitFollowsTheSource) {
  const Model never_ends = hash_model(20, eos, -50.0f);
  const auto results = search(
      never_ends, {3, 4, 5, 6},
      {.beam = 3, .eos = eos, .max_length_factor = 1.5, .max_length_offset = 2, .max_length = 9}, 1, {0, 1, 3, 100});
  EXPECT_EQ(results[0][0].tokens.size(), 2u);
  EXPECT_EQ(results[1][0].tokens.size(), 3u);
  EXPECT_EQ(results[2][0].tokens.size(), 6u);
  EXPECT_EQ(results[3][0].tokens.size(), 9u);
  EXPECT_FALSE(results[3][0].end);
}

TEST(BeamSearch, NeverOutgrowsTheModel) {
  Context ctx({.threads = 1});
  FakeStepper stepper(hash_model(20, eos, -50.0f), 2, 7);
  const RaggedTokens first{{3, 4, 5, 6}, Sequences({0, 1, 4})};
  const auto results = beam_search(ctx, stepper, first, {}, {.eos = eos});
  EXPECT_EQ(results[0][0].tokens.size(), 6u);
  EXPECT_EQ(results[1][0].tokens.size(), 4u);
}

TEST(BeamSearch, HonoursWhatIsForbiddenForcedAndTooShort) {
  const Model model = hash_model(20, eos, 3.0f);
  const BeamOptions options{.beam = 5,
                            .nbest = 5,
                            .eos = eos,
                            .forbidden = {7, 1, 7, 0},
                            .bos = 11,
                            .force_eos = true,
                            .min_length = 3,
                            .max_length = 6};
  for (const NBest& nbest : search(model, {3, 4, 5, 6, 8}, options)) {
    ASSERT_EQ(nbest.size(), 5u);
    for (const Hypothesis& hypothesis : nbest) {
      EXPECT_EQ(hypothesis.end, eos);
      EXPECT_EQ(hypothesis.tokens.front(), 11);
      EXPECT_GE(hypothesis.tokens.size(), 3u);
      for (const std::int32_t token : {0, 1, 7}) EXPECT_EQ(std::ranges::count(hypothesis.tokens, token), 0);
    }
  }
}

TEST(BeamSearch, TiesGoToTheLowerHypothesisThenTheLowerToken) {
  const Model flat = [](const Tokens& text) {
    std::vector<float> logits(10, 0.0f);
    logits[eos] = text.size() > 2 ? 0.0f : -100.0f;
    return logits;
  };
  const NBest nbest =
      search(flat, {9}, {.beam = 3, .nbest = 3, .stopping = Stopping::first, .eos = eos, .max_length = 3})[0];
  EXPECT_EQ(nbest[0].tokens, (Tokens{0, 0, 0}));
  EXPECT_EQ(nbest[1].tokens, (Tokens{0, 0, 1}));
  EXPECT_EQ(nbest[2].tokens, (Tokens{0, 0}));
}

TEST(BeamSearch, AVocabularySmallerThanTheBeamIsSearchedWhole) {
  const NBest nbest = search(hash_model(3, eos), {0},
                             {.beam = 50, .nbest = 50, .stopping = Stopping::exact, .eos = eos, .max_length = 3})[0];
  EXPECT_EQ(nbest.size(), 1u + 2u + 4u * 3u);
}

TEST(BeamSearch, NothingInNothingOut) {
  Context ctx({.threads = 1});
  FakeStepper stepper(hash_model(20, eos), 0);
  EXPECT_TRUE(beam_search(ctx, stepper, {}, {}, {.eos = eos}).empty());
  EXPECT_TRUE(stepper.stepped.empty());
}

TEST(BeamSearch, LogitsThatAreNoNumbersAreAnErrorThatNamesTheStep) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Model breaks = [&](const Tokens& text) {
    std::vector<float> logits = hash_model(20, eos, -50.0f)(text);
    if (text.front() == 4 && text.size() == 3) logits[13] = nan;
    return logits;
  };
  const auto message = message_of([&] { search(breaks, {3, 4, 5}, {.beam = 2, .eos = eos}, 2); });
  EXPECT_NE(message.find("step 3, sentence 1: the model's logits hold NaN"), std::string::npos) << message;
}

TEST(BeamSearch, OptionsThatMakeNoSenseAreErrorsThatNameThem) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::pair<const char*, BeamOptions> cases[] = {
      {"beam:", {.beam = 0, .eos = eos}},
      {"beam:", {.beam = -3, .eos = eos}},
      {"beam:", {.beam = std::numeric_limits<std::int32_t>::max(), .eos = eos}},
      {"nbest:", {.beam = 4, .nbest = 5, .eos = eos}},
      {"nbest:", {.nbest = 0, .eos = eos}},
      {"alpha:", {.alpha = nan, .eos = eos}},
      {"alpha:", {.alpha = std::numeric_limits<double>::infinity(), .eos = eos}},
      {"eos:", {.more_eos = {eos}}},
      {"more_eos:", {.eos = eos, .more_eos = {20}}},
      {"eos:", {.eos = 20}},
      {"forbidden:", {.eos = eos, .forbidden = {20}}},
      {"forbidden:", {.eos = eos, .forbidden = {eos}}},
      {"bos:", {.eos = eos, .bos = -1}},
      {"min_length:", {.eos = eos, .min_length = -1}},
      {"max_length:", {.eos = eos, .max_length = 0}},
      {"max_length_factor:", {.eos = eos, .max_length_factor = nan}},
      {"max_length_factor:", {.eos = eos, .max_length_factor = -1}},
      {"max_length_factor:", {.eos = eos, .max_length_factor = 2}},  // without the lengths of the sources
  };
  for (const auto& [option, options] : cases) {
    const auto message = message_of([&] { search(hash_model(20, eos), {3}, options); });
    EXPECT_EQ(message.find(option), 0u) << option << " " << message;
  }
}

/// What the model says of the tokens of a hypothesis, one by one, is what the hypothesis says.
TEST(BeamSearch, TellsTheLogProbabilityOfEachToken) {
  const Model model = hash_model(30, eos, 2);
  const NBest found = search(model, {7}, {.nbest = 4, .eos = eos, .more_eos = {5}})[0];
  ASSERT_EQ(found.size(), 4U);
  for (const Hypothesis& hypothesis : found) {
    Tokens text{7};
    Tokens written = hypothesis.tokens;
    if (hypothesis.end) written.push_back(*hypothesis.end);
    ASSERT_EQ(hypothesis.log_probabilities.size(), written.size());
    for (std::size_t i = 0; i < written.size(); ++i) {
      EXPECT_NEAR(hypothesis.log_probabilities[i], log_softmax(model(text))[static_cast<std::size_t>(written[i])],
                  1e-5);
      text.push_back(written[i]);
    }
    EXPECT_NEAR(std::accumulate(hypothesis.log_probabilities.begin(), hypothesis.log_probabilities.end(), 0.0),
                hypothesis.log_probability, 1e-9);
  }
}

TEST(BeamSearch, AnyOfSeveralTokensEndsASentence) {
  const Model model = hash_model(8, eos);
  std::set<std::int32_t> ends;
  for (const std::int32_t beam : {1, 3, 6}) {
    for (std::int32_t first = 0; first < 8; ++first) {
      const NBest found = search(
          model, {first}, {.beam = beam, .nbest = beam, .eos = eos, .more_eos = {5, 6, eos}, .max_length = 40})[0];
      for (const Hypothesis& hypothesis : found) {
        for (const std::int32_t token : {eos, 5, 6}) EXPECT_EQ(std::ranges::count(hypothesis.tokens, token), 0);
        ASSERT_TRUE(hypothesis.end);
        ends.insert(*hypothesis.end);
      }
    }
  }
  EXPECT_EQ(ends, (std::set<std::int32_t>{eos, 5, 6}));
}

TEST(BeamSearch, WithoutEosOnlyTheLengthEndsASentence) {
  const NBest found = search(hash_model(8, eos), {3}, {.nbest = 4, .max_length = 6})[0];
  ASSERT_EQ(found.size(), 4U);
  for (const Hypothesis& hypothesis : found) {
    EXPECT_EQ(hypothesis.tokens.size(), 6U);
    EXPECT_FALSE(hypothesis.end);
  }
}

TEST(BeamSearch, TheCallerMayEndASentence) {
  const auto ends_with_3_or_4 = [](std::int32_t sentence, std::span<const std::int32_t> tokens) {
    return tokens.back() == 3 + sentence;
  };
  const auto results =
      search(hash_model(8, eos), {5, 6}, {.nbest = 4, .eos = eos, .max_length = 60, .is_complete = ends_with_3_or_4});
  int completed = 0;
  for (std::int32_t sentence = 0; sentence < 2; ++sentence) {
    for (const Hypothesis& hypothesis : results[static_cast<std::size_t>(sentence)]) {
      if (hypothesis.end) continue;
      ++completed;
      EXPECT_EQ(hypothesis.tokens.back(), 3 + sentence);
      EXPECT_EQ(std::ranges::count(hypothesis.tokens, 3 + sentence), 1);
    }
  }
  EXPECT_GT(completed, 0);
}

TEST(BeamSearch, FirstTokensMustFitTheModel) {
  Context ctx({.threads = 1});
  const auto error = [&](const RaggedTokens& first) {
    FakeStepper stepper(hash_model(20, eos), 2, 5);
    return message_of([&] { beam_search(ctx, stepper, first, {}, {.eos = eos}); });
  };
  EXPECT_NE(error(first_tokens({3})).find("first tokens of 1 sequences"), std::string::npos);
  EXPECT_NE(error(first_tokens({3, 20})).find("from 0 to 19, found 20"), std::string::npos);
  EXPECT_NE(error({{3}, Sequences({0, 1, 1})}).find("sequence 1 has no first token"), std::string::npos);
  EXPECT_NE(error({{3, 4, 5, 6, 7, 8}, Sequences({0, 5, 6})}).find("no room"), std::string::npos);
}

}  // namespace
}  // namespace rapt::decoding
