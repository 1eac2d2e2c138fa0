#include "view/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "rapt/error.h"
#include "view/example_report.h"

namespace rapt::view {
namespace {

using nlohmann::json;

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// The data block of this id, as the browser would read it.
json block(const std::string& page, const std::string& id) {
  const std::string open = "<script type=\"application/json\" id=\"" + id + "\">";
  const std::size_t begin = page.find(open);
  EXPECT_NE(begin, std::string::npos) << id;
  return json::parse(page.substr(begin + open.size(), page.find("</script>", begin) - begin - open.size()));
}

std::vector<std::uint8_t> bytes_of(const std::string& base64_text) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : base64_text.substr(0, base64_text.find('='))) {
    group = group << 6 | static_cast<std::uint32_t>(alphabet.find(c));
    bits += 6;
    if (bits >= 8) bytes.push_back(static_cast<std::uint8_t>(group >> (bits -= 8)));
  }
  return bytes;
}

TEST(AttentionPage, HoldsEverySentenceAndItsWeights) {
  const Report report = example::report();
  const std::string page = attention_page(report);
  const json index = block(page, "index");
  ASSERT_EQ(index["sentences"].size(), report.sentences.size());
  EXPECT_EQ(index["model"], "example-en-de");
  EXPECT_EQ(index["sentences"][0]["target"], "Der kleine Hund läuft schnell über die nasse Wiese .");
  EXPECT_EQ(index["sentences"][0]["reference"], "Der kleine Hund rennt schnell über die nasse Wiese.");
  EXPECT_EQ(index["sentences"][0]["score"], -0.412);
  for (std::size_t i = 0; i < report.sentences.size(); ++i) {
    const json maps = block(page, "sentence-" + std::to_string(i))["maps"];
    ASSERT_EQ(maps.size(), report.sentences[i].maps.size());
    for (std::size_t k = 0; k < maps.size(); ++k) {
      const EncodedMap& map = report.sentences[i].maps[k];
      EXPECT_EQ(maps[k]["kind"], name_of(map.kind));
      EXPECT_EQ(bytes_of(maps[k]["weights"]), map.weights);
      const auto scales = bytes_of(maps[k]["scales"]);
      ASSERT_EQ(scales.size(), 2 * map.scales.size());
      EXPECT_EQ(scales[0] | scales[1] << 8, map.scales[0]);
    }
  }
}

TEST(AttentionPage, IsTheSameForTheSameReport) {
  EXPECT_EQ(attention_page(example::report()), attention_page(example::report()));
}

TEST(AttentionPage, AsksForNothingFromAnywhere) {
  Report report;
  add_sentence(report, example::report().sentences.front());
  const std::string page = attention_page(report);
  EXPECT_NE(page.find("default-src &#39;none&#39;; script-src &#39;sha256-"), std::string::npos);
  EXPECT_EQ(count(page, "http://"), 1u) << "the name of SVG";
  EXPECT_EQ(count(page, "https://"), 0u);
  for (const char* part :
       {" src=", "<link", "@import", "url(//", "fetch(", "XMLHttpRequest", "WebSocket", "innerHTML"}) {
    EXPECT_EQ(count(page, part), 0u) << part;
  }
}

TEST(AttentionPage, ShowsHostileTextLiterally) {
  Report report{.model_name = "</script><script>alert('model')</script>", .title = "</title><script>alert(1)</script>"};
  add_sentence(report, example::hostile_sentence());
  const std::string page = attention_page(report);
  EXPECT_EQ(count(page, "<script"), 3u) << "index, one sentence, the page's own";
  EXPECT_EQ(count(page, "</script>"), 3u);
  EXPECT_EQ(count(page, "<!--"), 0u);
  EXPECT_EQ(count(page, "alert(1)</script"), 0u);
  EXPECT_EQ(count(page, "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;"), 2u);
  EXPECT_EQ(count(page, "\u202E"), 0u);
  const json texts = block(page, "sentence-0")["source"]["texts"];
  EXPECT_EQ(texts[0], "\u2581</script><script>alert(1)</script>");
  EXPECT_EQ(texts[3], "\u2581{{script}}");
  EXPECT_EQ(texts[4], "\u2581a[U+202E]b[U+2066]c");
  EXPECT_EQ(texts[5], "\u2407\u241B[31m");
  EXPECT_EQ(texts[6], "\u2581\uFFFD\uFFFD(");
  EXPECT_EQ(texts[11], "");
  EXPECT_EQ(block(page, "index")["sentences"][0]["target"], "<b>bold</b>\u21B5\u2401 \uFFFD");
}

TEST(AttentionPage, CutsTokensThatNoVocabularyNeeds) {
  Sentence sentence{.target = {{std::string(300'000, 'x')}}};
  add_map(sentence, {.kind = AttentionKind::decoder, .heads = 1, .queries = 1, .keys = 1, .weights = {1}});
  Report report;
  add_sentence(report, sentence);
  const std::string text = block(attention_page(report), "sentence-0")["target"]["texts"][0];
  EXPECT_EQ(text, std::string(64, 'x') + "\u2026 (+299936 bytes)");
}

TEST(AttentionPage, IsAsLargeAsItsWeights) {
  Report report;
  const std::size_t empty = attention_page(report).size();
  EXPECT_LT(empty, 90'000u);
  std::string words = "a";
  for (int i = 0; i < 28; ++i) words += " a";
  add_sentence(report, example::sentence(words, words, {}, {.layers = 4, .heads = 4}));
  const std::size_t weights = 30 * 30 * 4 * 4 * 3;
  EXPECT_EQ(weights, 43'200u);
  EXPECT_LT(attention_page(report).size() - empty, weights * 4 / 3 + 20'000);
}

TEST(AttentionPage, BoundsLongTexts) {
  std::vector<Piece> pieces(2000, {"\u2581long"});
  Sentence sentence{.target = pieces};
  std::vector<float> weights(4'000'000);
  for (std::size_t query = 0; query < 2000; ++query) weights[query * 2000 + query / 2] = 1;
  add_map(sentence,
          {.kind = AttentionKind::decoder, .heads = 1, .queries = 2000, .keys = 2000, .weights = std::move(weights)});
  EXPECT_EQ(sentence.maps[0].rows, 250);
  Report report;
  add_sentence(report, sentence);
  const json map = block(attention_page(report), "sentence-0")["maps"][0];
  EXPECT_EQ(map["queries"], 2000);
  EXPECT_EQ(map["rows"], 250);
  EXPECT_EQ(map["query_block"], 8);
  EXPECT_EQ(map["causal"], true);
  EXPECT_LT(report.sentences[0].maps[0].page_bytes(), 90'000u);
}

TEST(Report, SaysHowManySentencesItLeftOut) {
  const Sentence sentence = example::sentence("A red car .", "Ein rotes Auto .", {});
  Report report{.max_bytes = 3 * 4000};
  std::size_t taken = 0;
  for (int i = 0; i < 10; ++i) taken += add_sentence(report, sentence) ? 1 : 0;
  EXPECT_GE(taken, 1u);
  EXPECT_LT(taken, 10u);
  EXPECT_EQ(report.sentences.size(), taken);
  EXPECT_EQ(report.omitted, 10 - taken);
  EXPECT_EQ(block(attention_page(report), "index")["omitted"], 10 - taken);
}

TEST(Report, SaysWhichLayersHaveNoMapsAndWhy) {
  Report report = example::report();
  EXPECT_TRUE(block(attention_page(report), "index")["absent"].empty());
  report.absent = {{.kind = AttentionKind::decoder, .layer = 3, .reason = "of <b>some</b> reason"}};
  const json absent = block(attention_page(report), "index")["absent"];
  ASSERT_EQ(absent.size(), 1U);
  EXPECT_EQ(absent[0]["kind"], "decoder");
  EXPECT_EQ(absent[0]["layer"], 3);
  EXPECT_EQ(absent[0]["reason"], "of <b>some</b> reason");
}

TEST(Report, TakesALanguageModel) {
  Sentence sentence{.target = {{"<s>", true}, {"\u2581To"}, {"\u2581be"}}};
  const std::vector<float> causal{1, 0, 0, 0.5f, 0.5f, 0, 0.2f, 0.3f, 0.5f};
  add_map(sentence, {.kind = AttentionKind::decoder, .heads = 1, .queries = 3, .keys = 3, .weights = causal});
  Report report;
  add_sentence(report, sentence);
  const json stored = block(attention_page(report), "sentence-0");
  EXPECT_TRUE(stored["source"]["texts"].empty());
  EXPECT_FALSE(stored.contains("start"));
  EXPECT_EQ(stored["target"]["special"], json::array({0}));
}

TEST(Report, RefusesASentenceWithoutAMap) {
  Report report;
  EXPECT_THROW(add_sentence(report, {}), Error);
  EXPECT_TRUE(report.sentences.empty());
}

TEST(Report, RefusesMapsOfAnotherSentence) {
  Sentence sentence{.source = example::pieces("A car"), .target = example::pieces("Ein rotes Auto")};
  EXPECT_THROW(add_map(sentence, {.kind = AttentionKind::cross,
                                  .heads = 1,
                                  .queries = 3,
                                  .keys = 4,
                                  .weights = std::vector<float>(12, 0.25f)}),
               Error);
  EXPECT_TRUE(sentence.maps.empty());
}

}  // namespace
}  // namespace rapt::view
