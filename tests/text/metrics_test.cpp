#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "core/random.h"
#include "text/bleu.h"
#include "text/chrf.h"
#include "text/helpers.h"
#include "text/ngrams.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace rapt {
namespace {

using Segments = std::vector<std::string>;

/// A signature without the version, which is that of another program.
std::string without_version(const std::string& signature) {
  return signature.substr(0, signature.find("version:"));
}

TEST(BleuTokenization, IsThatOfSacreBleu) {
  const nlohmann::json golden = test::golden("bleu-tokenization.json");
  for (const std::string name : {"13a", "none", "intl", "char"}) {
    for (std::size_t i = 0; i < golden["lines"].size(); ++i) {
      const auto line = golden["lines"][i].get<std::string>();
      const std::string tokenized = tokenize_for_bleu(strip_right(line), bleu_tokenization(name));
      const std::vector<std::string_view> tokens = split_words(tokenized);
      EXPECT_EQ(Segments(tokens.begin(), tokens.end()), golden[name][i].get<Segments>()) << name << ": " << line;
    }
  }
}

TEST(BleuTokenization, HasItsNames) {
  for (const std::string_view name : {"13a", "none", "intl", "char"}) {
    EXPECT_EQ(name_of(bleu_tokenization(name)), name);
  }
  EXPECT_TRUE(test::contains(test::error_of([] { bleu_tokenization("zh"); }), "13a, none, intl and char"));
}

void expect_bleu(const Segments& hypotheses, const std::vector<Segments>& references, const nlohmann::json& golden) {
  const BleuScore score = corpus_bleu(
      hypotheses, references,
      {.tokenization = bleu_tokenization(golden["tokenize"].get<std::string>()), .lowercase = golden["lowercase"]});
  EXPECT_NEAR(score.score, golden["score"].get<double>(), 1e-9);
  EXPECT_EQ(score.to_string(), golden["text"].get<std::string>());
  EXPECT_EQ(without_version(score.signature), without_version(golden["signature"]));
}

void expect_chrf(const Segments& hypotheses, const std::vector<Segments>& references, const nlohmann::json& golden) {
  const ChrfScore score = corpus_chrf(hypotheses, references,
                                      {.character_order = golden["character_order"],
                                       .word_order = golden["word_order"],
                                       .beta = golden["beta"],
                                       .lowercase = golden["lowercase"]});
  EXPECT_NEAR(score.score, golden["score"].get<double>(), 1e-9);
  EXPECT_EQ(score.to_string(), golden["text"].get<std::string>());
  EXPECT_EQ(without_version(score.signature), without_version(golden["signature"]));
}

TEST(Metrics, AreThoseOfSacreBleu) {
  for (const auto& corpus : test::golden("metrics.json")) {
    SCOPED_TRACE(corpus["name"]);
    const auto hypotheses = corpus["hypotheses"].get<Segments>();
    const auto references = corpus["references"].get<std::vector<Segments>>();
    for (const auto& golden : corpus["scores"]) {
      SCOPED_TRACE(golden.dump());
      golden["metric"] == "bleu" ? expect_bleu(hypotheses, references, golden)
                                 : expect_chrf(hypotheses, references, golden);
    }
  }
}

TEST(Metrics, SignaturesCarryTheVersionOfTheProject) {
  const std::string text = test::read_bytes(std::string(RAPT_TEST_DATA) + "/../../CMakeLists.txt");
  const std::string before = "project(rapt VERSION ";
  const std::size_t found = text.find(before);
  ASSERT_NE(found, std::string::npos);
  const std::size_t begin = found + before.size();
  const std::string project_version = text.substr(begin, text.find(' ', begin) - begin);
  const Segments line{"a"};
  const std::vector<Segments> references{line};
  const std::string version = "|version:rapt-" + project_version;
  EXPECT_TRUE(corpus_bleu(line, references).signature.ends_with(version));
  EXPECT_TRUE(corpus_chrf(line, references).signature.ends_with(version));
}

TEST(Metrics, RefuseWhatCannotBeScored) {
  const auto both = [](const Segments& hypotheses, const std::vector<Segments>& references) {
    const std::string bleu = test::error_of([&] { corpus_bleu(hypotheses, references); });
    EXPECT_EQ(bleu, test::error_of([&] { corpus_chrf(hypotheses, references); }));
    return bleu;
  };
  EXPECT_TRUE(test::contains(both({}, {{}}), "no hypothesis"));
  EXPECT_TRUE(test::contains(both({"a"}, {}), "no reference"));
  EXPECT_TRUE(test::contains(both({"a", "b"}, {{"a", "b"}, {"a"}}), "2 hypotheses"));
  EXPECT_TRUE(test::contains(both({"a", "b\xFF"}, {{"a", "b"}}), "hypothesis 2 is not valid UTF-8 at byte 1"));
  EXPECT_TRUE(test::contains(both({"a", "b"}, {{"\x80", "b"}}), "reference 1 is not valid UTF-8 at byte 0"));
  const Segments line{"a"};
  EXPECT_TRUE(test::contains(
      test::error_of([&] { corpus_chrf(line, std::vector<Segments>{line}, {.character_order = 0}); }), "order 0"));
}

/// The n-grams of one order and how often each sequence has them, the plain way.
std::map<Symbols, std::vector<std::int64_t>> plain_ngrams(const std::vector<Symbols>& sequences, std::size_t order) {
  std::map<Symbols, std::vector<std::int64_t>> counts;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    for (std::size_t i = 0; i + order <= sequences[s].size(); ++i) {
      const auto begin = sequences[s].begin() + static_cast<std::ptrdiff_t>(i);
      auto& of_ngram = counts[Symbols(begin, begin + static_cast<std::ptrdiff_t>(order))];
      of_ngram.resize(sequences.size());
      ++of_ngram[s];
    }
  }
  return counts;
}

TEST(NGrams, AreCountedAsThePlainWay) {
  RandomSequence random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<Symbols> sequences(1 + random.below(4));
    for (Symbols& symbols : sequences) {
      symbols.resize(random.below(30));
      for (auto& symbol : symbols) symbol = static_cast<std::uint32_t>(random.below(3) * 0x7FFFFFFF);
    }
    constexpr int max_order = 5;
    std::vector<std::multiset<std::vector<std::int64_t>>> found(max_order);
    for_each_ngram(sequences, max_order, [&](int order, std::span<const std::int64_t> counts) {
      found[static_cast<std::size_t>(order - 1)].emplace(counts.begin(), counts.end());
    });
    for (std::size_t order = 1; order <= max_order; ++order) {
      std::multiset<std::vector<std::int64_t>> expected;
      for (const auto& [ngram, counts] : plain_ngrams(sequences, order)) expected.insert(counts);
      ASSERT_EQ(found[order - 1], expected);
    }
  }
}

// reliability T4: a line of a megabyte takes no more than its share of time, whatever it consists of.
TEST(Metrics, TakeTimeInProportionToTheLine) {
  const auto score_all = [](const std::string& line) {
    const Segments hypotheses{line};
    const std::vector<Segments> references{{line + "."}};
    for (const std::string_view name : {"13a", "intl", "char"}) {
      corpus_bleu(hypotheses, references, {.tokenization = bleu_tokenization(name), .lowercase = true});
    }
    corpus_chrf(hypotheses, references, {.word_order = 2, .lowercase = true});
  };
  constexpr std::size_t megabyte = std::size_t{1} << 20, part = 16;
  for (const std::string_view pattern : {"a", "^", "word, ", "1.", "&lt;", "\u0301", "ΑΣ", "日本語、", "Σ'"}) {
    const double small = test::seconds([&] { score_all(test::repeated(pattern, megabyte / part)); });
    const double large = test::seconds([&] { score_all(test::repeated(pattern, megabyte)); });
    EXPECT_LT(large, 4 * part * small + 1) << pattern << ": " << small << " s and " << large << " s";
  }
}

}  // namespace
}  // namespace rapt
