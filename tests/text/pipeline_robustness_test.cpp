// Hostile tokenizer files and texts.  T1 to T5: numbers of the list of tests in docs/design.md, section 8.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "core/random.h"
#include "text/helpers.h"
#include "text/pipeline_tokenizer.h"
#include "text/utf8.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;
using test::contains;

constexpr std::size_t kMegabyte = std::size_t{1} << 20;
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t kSlowdown = 8;  // sanitizers see enough in shorter texts
#else
constexpr std::size_t kSlowdown = 1;
#endif

const std::vector<std::string> kStyles{
    "gpt2",       "llama3",       "qwen2",       "o200k",         "smollm2", "deepseek",
    "roberta",    "clip",         "llama2",      "gemma",         "albert",  "metaspace-first",
    "bert-cased", "bert-uncased", "xlm-roberta", "unigram-bytes", "exotic",  "word-suffixes"};

std::unique_ptr<Tokenizer> load(const std::string& style) {
  return load_tokenizer(test::kData / "pipeline" / style);
}

Json json_of(const std::string& style) {
  return Json::parse(test::read_bytes(test::kData / "pipeline" / style / "tokenizer.json"));
}

std::unique_ptr<PipelineTokenizer> of_json(const Json& json, const std::string& config = "{}") {
  return PipelineTokenizer::of_files({{"tokenizer.json", json.dump()}, {"tokenizer_config.json", config}});
}

/// What is wrong with a tokenizer.json that was changed.
std::string error_with(const std::string& style, const std::function<void(Json&)>& change) {
  Json json = json_of(style);
  change(json);
  return test::error_of([&] { of_json(json); });
}

std::string error_with(const std::string& style, const std::string& pointer, const Json& value) {
  return error_with(style, [&](Json& json) { json[Json::json_pointer(pointer)] = value; });
}

/// Early versions of the tokenizers library did not write what kind a model is.
TEST(PipelineFiles, KindsOfModelsAreKnownByTheirKeys) {
  for (const char* style : {"gpt2", "bert-uncased", "xlm-roberta"}) {
    Json json = json_of(style);
    json["model"].erase("type");
    EXPECT_EQ(of_json(json)->encode("A text, cut."), load(style)->encode("A text, cut.")) << style;
  }
  EXPECT_TRUE(test::contains(error_with("bert-uncased",
                                        [](Json& json) {
                                          json["model"].erase("type");
                                          json["model"].erase("continuing_subword_prefix");
                                        }),
                             "\"model.type\": expected a string, found nothing"));
}

TEST(PipelineFiles, NllbPutsTheLanguageWhereItsClassDoes) {
  Json json = json_of("xlm-roberta");
  const auto count = static_cast<std::int32_t>(json["model"]["vocab"].size());
  Json tokens = json["added_tokens"];
  const auto language = std::max(count, tokens.back()["id"].get<std::int32_t>() + 1);
  tokens.push_back({{"id", language}, {"content", "deu_Latn"}, {"special", true}, {"normalized", false}});
  json["added_tokens"] = tokens;
  const auto ids_with = [&](const std::string& more) {
    return of_json(json, R"({"tokenizer_class": "NllbTokenizerFast", "src_lang": "deu_Latn", "eos_token": "</s>")" +
                             more + "}")
        ->encode("a");
  };
  const std::int32_t eos = *load("xlm-roberta")->special().eos;
  const auto ids = ids_with(R"(, "legacy_behaviour": false)");
  EXPECT_EQ(ids, ids_with(""));
  EXPECT_EQ(ids.front(), language);
  EXPECT_EQ(ids.back(), eos);
  const auto legacy = ids_with(R"(, "legacy_behaviour": true)");
  EXPECT_EQ(legacy.back(), language);
  EXPECT_EQ(legacy[legacy.size() - 2], eos);
  EXPECT_EQ(legacy.size(), ids.size());
  EXPECT_TRUE(test::contains(test::error_of([&] { of_json(json, R"({"tokenizer_class": "NllbTokenizer"})"); }),
                             "\"src_lang\": expected a language of the vocabulary"));
}

TEST(PipelineFiles, KeysOfPegasusAndOfCallsChangeNothing) {
  EXPECT_NO_THROW(
      of_json(json_of("xlm-roberta"), R"({"mask_token_sent": "<mask_1>", "offset": 103, "return_tensors": "pt"})"));
}

TEST(PipelineFiles, T1_UnknownExpressionsAreShownAndNeverRun) {
  const auto error = [](const std::string& regex) {
    return error_with("llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", regex);
  };
  EXPECT_EQ(error("(a+)+$"),
            "tokenizer.json: \"pre_tokenizer.pretokenizers[0].pattern.Regex\": expected a regular expression of a "
            "tokenizer that rapt knows, found \"(a+)+$\"");
  EXPECT_TRUE(contains(error(std::string(kMegabyte, '(')), "found \"((("));
  EXPECT_TRUE(contains(error("(?<=(?<=(?<=a*)*)*)b"), "(?<=(?<=(?<=a*)*)*)b"));
  EXPECT_TRUE(contains(error("\\p{N}{1,4}"), "\\p{N}{1,4}"));
  EXPECT_TRUE(contains(error_with("clip", "/normalizer/normalizers/1/pattern/Regex", "(a|a)*"), "(a|a)*"));
  EXPECT_TRUE(contains(error_with("llama2", "/normalizer/normalizers/1/pattern/String", std::string(kMegabyte, 'a')),
                       "\"normalizer.normalizers[1].pattern.String\": expected a text of 1 to 1024 bytes"));
}

/// A sequence of 40 equal steps.
Json forty(const char* key, const Json& step) {
  return {{"type", "Sequence"}, {key, std::vector<Json>(40, step)}};
}

TEST(PipelineFiles, T1_RulesThatMakeALotOfLittleAreStopped) {
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const Json at_once = {
      {"type", "Replace"}, {"pattern", {{"Regex", "\\p{L}+"}}}, {"content", std::string(kMegabyte, 'a')}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const auto refused = [](const char* place, const Json& rules) {
    Json json = json_of("gpt2");
    json[place] = rules;
    json["added_tokens"] = Json::array();
    const auto tokenizer = of_json(json);
    return contains(test::error_of([&] { tokenizer->decode(tokenizer->encode("a\u0301")); }),
                    "no published model's do");
  };
  EXPECT_TRUE(refused("normalizer", forty("normalizers", twice)));
  EXPECT_TRUE(refused("normalizer", forty("normalizers", forty("normalizers", twice))));
  EXPECT_TRUE(refused("normalizer", at_once));
  EXPECT_TRUE(refused("pre_tokenizer", forty("pretokenizers", bytes)));
  EXPECT_TRUE(refused("decoder", forty("decoders", twice)));
  EXPECT_TRUE(refused("decoder", at_once));
  EXPECT_TRUE(refused("normalizer", {{"type", "Prepend"}, {"prepend", std::string(kMegabyte, 'a')}}));
  EXPECT_TRUE(contains(error_with("gpt2",
                                  [](Json& json) {
                                    json["normalizer"] = {{"type", "Prepend"}, {"prepend", std::string(2000, 'a')}};
                                    json["added_tokens"][0]["normalized"] = true;
                                  }),
                       "has 2013 bytes once it is normalised, more than 1024"));
}

TEST(PipelineFiles, T2_MergesAndAddedTokensMustFitTheVocabulary) {
  EXPECT_TRUE(
      contains(error_with("gpt2", "/model/merges/0", Json{"a", "nothing"}), "merge 0 needs the piece \"nothing\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/merges/3", "a b c"), "merge 3"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/merges/3", "ab"), "merge 3"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/merges/3", 7), "merge 3 is 7"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/merges/3", Json{"!", "!"}), "needs the piece \"!!\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/merges", Json::object()), "model.merges"));
  EXPECT_TRUE(contains(error_with("gpt2", "/added_tokens/0/content", ""), "content"));
  EXPECT_TRUE(contains(error_with("gpt2", "/added_tokens/0/content", std::string(300'000, 'x')), "1024"));
  EXPECT_TRUE(contains(error_with("gpt2", "/added_tokens/0/id", 5), "has the id 5, but 0"));
  EXPECT_TRUE(contains(error_with("gpt2", "/added_tokens/0/id", -1), "added_tokens[0].id"));
  EXPECT_TRUE(contains(error_with("gpt2", [](Json& json) { json["added_tokens"].push_back(json["added_tokens"][0]); }),
                       "twice"));
  EXPECT_TRUE(contains(error_with("llama3", "/added_tokens/1/id", 2'000'000'000), "has the id 2000000000"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/vocab", Json::object()), "model.vocab"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/vocab/!", 2'000'000'000), "2000000000"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/vocab/!", 5), "id 5 belongs to two pieces"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/vocab/!", -5), "has the id -5"));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/dropout", 0.1), "model.dropout"));
  EXPECT_TRUE(contains(error_with("llama2", "/model/unk_token", "<nothing>"), "model.unk_token"));
  EXPECT_TRUE(contains(error_with("albert", "/model/vocab/3", Json{"a"}), "piece 3"));
  EXPECT_TRUE(contains(error_with("albert", "/model/vocab/3", Json{std::string(300'000, 'x'), -1}), "1024 bytes"));
  EXPECT_TRUE(contains(error_with("albert", "/model/vocab", Json::array()), "model.vocab"));
  EXPECT_TRUE(contains(error_with("albert", "/model/unk_id", 5000), "model.unk_id"));
  EXPECT_TRUE(contains(error_with("bert-cased", "/model/unk_token", "?!"), "model.unk_token"));
}

TEST(PipelineFiles, T2_TenMillionMergesAreRefused) {
  std::string json = R"({"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [)";
  json.reserve(60'000'000);
  for (int i = 0; i < 9'999'999; ++i) json += "\"a a\",";
  json += "\"a a\"]}}";
  EXPECT_TRUE(contains(test::error_of([&] { PipelineTokenizer::of_files({{"tokenizer.json", json}}); }), "values"));
}

/// Of one vocabulary of three characters, where pieces within words begin with ##.
std::unique_ptr<PipelineTokenizer> with_merges(const std::vector<std::string>& merges) {
  return of_json({{"version", "1.0"},
                  {"model",
                   {{"type", "BPE"},
                    {"continuing_subword_prefix", "##"},
                    {"vocab", {{"a", 0}, {"##a", 1}, {"##", 2}, {"aa", 3}, {"aaa", 4}, {"##aa", 5}}},
                    {"merges", merges}}}});
}

// Each merge makes a word a piece shorter, so that no set of merges goes on for ever. The ids are those of tokenizers
// 0.23.3.
TEST(PipelineFiles, T2_MergesThatRepeatOrGiveOneOfTheirOwnPiecesEnd) {
  const auto ids = [](const PipelineTokenizer& tokenizer) {
    std::vector<Ids> result;
    for (const char* word : {"a", "aa", "aaa", "aaaaaa"}) result.push_back(tokenizer.encode(word));
    return result;
  };
  EXPECT_EQ(ids(*with_merges({"a ##", "a ##a", "##a ##a", "aa ##a"})), (std::vector<Ids>{{0}, {3}, {4}, {3, 5, 5}}));
  EXPECT_EQ(ids(*with_merges({"a ##a", "a ##a", "a ##a", "##a ##a", "a ##a"})),
            (std::vector<Ids>{{0}, {3}, {0, 5}, {0, 5, 5, 1}}));
  const auto tokenizer = with_merges(std::vector<std::string>(200'000, "a ##a"));
  EXPECT_EQ(tokenizer->encode("aaaa"), (Ids{3, 1, 1}));
  EXPECT_TRUE(contains(test::error_of([] { with_merges({"a "}); }), "merge 0 needs the piece \"\""));
}

// The tokenizers library (0.23.3) takes tokens that overlap, and of those that begin at one place the longest.
TEST(PipelineFiles, T2_OverlappingAddedTokensAreReadAndGiveTheIdsOfTheTokenizersLibrary) {
  Json json = json_of("gpt2");
  for (const char* content : {"<a>", "<a><b>", "<b><a>", "b><"}) {
    Json token = json["added_tokens"][0];
    token.update({{"content", content}, {"id", 329 + json["added_tokens"].size()}});
    json["added_tokens"].push_back(token);
  }
  const auto tokenizer = of_json(json);
  const std::pair<const char*, Ids> expected[] = {{"<a><b>", {331}},         {"<a><b><a>", {331, 330}},
                                                  {"<a><a><b>", {330, 331}}, {"x<b><a><b>y", {88, 332, 28, 66, 30, 89}},
                                                  {"<b><", {28, 333}},       {"<a><b", {330, 28, 66}}};
  for (const auto& [text, ids] : expected) EXPECT_EQ(tokenizer->encode(text), ids) << text;
}

TEST(PipelineFiles, T2_AddedTokensThatTakeTheSpaceAroundThemTakeLinearTime) {
  Json json = json_of("gpt2");
  Json token = json["added_tokens"][0];
  token.update({{"content", " "}, {"id", 330}, {"lstrip", true}, {"rstrip", true}});
  json["added_tokens"].push_back(token);
  const auto tokenizer = of_json(json);
  EXPECT_EQ(tokenizer->encode("a  \n b c"), (Ids{65, 330, 330, 330, 66, 330, 67}));
  const std::string text(kMegabyte / kSlowdown, ' ');
  EXPECT_LT(test::seconds([&] { EXPECT_EQ(tokenizer->encode(text).size(), text.size()); }), 20);
}

TEST(PipelineFiles, OverlappingAddedTokensTakeTheLongest) {
  Json json = json_of("gpt2");
  const auto add = [&](const std::string& content) {
    Json token = json["added_tokens"][0];
    token["content"] = content;
    token["id"] = 330 + json["added_tokens"].size() - 1;
    json["added_tokens"].push_back(token);
  };
  for (const char* content : {"<a", "<a>", "a><", "><b>"}) add(content);
  const auto tokenizer = of_json(json);
  EXPECT_EQ(tokenizer->encode("<a><b>"),
            (Ids{331, tokenizer->encode("<")[0], tokenizer->encode("b")[0], tokenizer->encode(">")[0]}));
  EXPECT_EQ(tokenizer->encode("<a"), (Ids{330}));
}

TEST(PipelineFiles, UnknownRulesAreErrorsThatNameThem) {
  EXPECT_TRUE(contains(error_with("gpt2", "/normalizer", {{"type", "Magic"}}), "\"normalizer.type\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/pre_tokenizer/type", "UnicodeScripts"), "\"pre_tokenizer.type\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/decoder/type", "CTC"), "\"decoder.type\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/post_processor/type", "Magic"), "\"post_processor.type\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/type", "Magic"), "\"model.type\""));
  EXPECT_TRUE(contains(error_with("gpt2", "/model/surprise", 1), "model.surprise"));
  EXPECT_TRUE(contains(error_with("gpt2", "/pre_tokenizer/surprise", 1), "pre_tokenizer.surprise"));
  EXPECT_TRUE(contains(error_with("gpt2", "/added_tokens/0/surprise", 1), "surprise"));
  EXPECT_TRUE(contains(error_with("gpt2", "/surprise", 1), "surprise"));
  EXPECT_TRUE(contains(error_with("gpt2", "/version", "2.0"), "version"));
  EXPECT_TRUE(contains(error_with("llama3", "/pre_tokenizer/pretokenizers/0/behavior", "Sideways"), "behavior"));
  EXPECT_TRUE(
      contains(error_with("xlm-roberta", "/pre_tokenizer/pretokenizers/1/prepend_scheme", "last"), "prepend_scheme"));
  EXPECT_TRUE(contains(error_with("xlm-roberta", "/normalizer/normalizers/0/precompiled_charsmap", "???"), "base64"));
  EXPECT_TRUE(
      contains(error_with("xlm-roberta", "/normalizer/normalizers/0/precompiled_charsmap", "////////"), "damaged"));
  EXPECT_TRUE(contains(error_with("llama2", "/post_processor/special_tokens/<s>/ids/0", 4711), "4711"));
  EXPECT_TRUE(contains(error_with("llama2", "/post_processor/special_tokens", Json::object()), "special_tokens"));
  EXPECT_TRUE(contains(error_with("llama2", "/decoder/decoders/3/content", "ab"), "decoder.decoders[3].content"));
}

TEST(PipelineFiles, TheConfigurationMustAgree) {
  const auto error = [](const std::string& style, const std::string& config) {
    return test::error_of([&] { of_json(json_of(style), config); });
  };
  EXPECT_TRUE(contains(error("gpt2", R"({"add_prefix_space": true})"), "add_prefix_space"));
  EXPECT_TRUE(contains(error("bert-cased", R"({"do_lower_case": true})"), "do_lower_case"));
  EXPECT_TRUE(contains(error("gpt2", R"({"split_special_tokens": true})"), "split_special_tokens"));
  EXPECT_TRUE(contains(error("gpt2", R"({"surprise": 1})"), "surprise"));
  EXPECT_TRUE(contains(error("gpt2", R"({"added_tokens_decoder": {"7": {"content": "<|endoftext|>"}}})"),
                       "has the id 7, but 0"));
  EXPECT_TRUE(contains(error("gpt2", R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), "found \"x\""));
  EXPECT_TRUE(contains(error("gpt2", R"({"eos_token": 3})"), "eos_token"));
}

TEST(PipelineFiles, TheConfigurationAddsTokens) {
  const auto tokenizer =
      of_json(json_of("gpt2"), R"({"eos_token": "<eos>", "additional_special_tokens": ["!", "<more>"],
    "added_tokens_decoder": {"330": {"content": "<x>", "special": false, "normalized": false}}})");
  EXPECT_EQ(tokenizer->special().eos, 331);
  EXPECT_EQ(tokenizer->encode("<x><eos><more>!"), (Ids{330, 331, 332, 1}));
  EXPECT_EQ(tokenizer->decode(Ids{330, 331, 332, 1}), "<x>");
}

TEST(PipelineTexts, T3_BytesThatAreNotUtf8AreRefused) {
  const std::vector<std::string> broken{"\x80", "a\xC0\xAF", "\xED\xA0\x80", "\xF0\x9F\x98",
                                        std::string(kMegabyte, '\xFF')};
  for (const std::string& style : kStyles) {
    const auto tokenizer = load(style);
    for (const std::string& text : broken) {
      EXPECT_TRUE(contains(test::error_of([&] { tokenizer->encode(text); }), "not valid UTF-8")) << style;
    }
  }
}

TEST(PipelineTexts, T3_ByteTokenizersGiveBackEveryText) {
  RandomSequence random(3);
  for (const std::string style : {"gpt2", "llama3", "o200k", "smollm2", "deepseek"}) {
    const auto tokenizer = load(style);
    for (int round = 0; round < 300; ++round) {
      std::string text;
      for (std::uint64_t i = random.below(60); i > 0; --i) {
        const auto code_point = static_cast<char32_t>(random.below(0x110000) >> random.below(17));
        if (code_point < 0xD800 || code_point > 0xDFFF) append_utf8(text, code_point);
      }
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, {.special_tokens = false})), text) << style;
    }
    const std::string odd("\0\uFFFE\uFFFF\U0010FFFF\uFEFF", 15);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(odd)), odd);
  }
}

/// A tokenizer of every style there is, by its directory.
std::vector<std::string> all_directories() {
  std::vector<std::string> result{"marian-opus", "character"};
  for (const auto& entry : std::filesystem::directory_iterator(test::kData / "pipeline"))
    result.push_back("pipeline/" + entry.path().filename().string());
  return result;
}

/// Texts of one kind, of about so many bytes.
std::map<std::string, std::string> texts_of_one_kind(std::size_t bytes) {
  std::map<std::string, std::string> texts{
      {"ordinary text", test::repeated("The way of a fox, quick as 25 lions.\n", bytes)}};
  const auto add_random = [&](const char* name, std::string_view letters) {
    RandomSequence random(7);
    std::string& text = texts[name];
    while (text.size() < bytes) text += letters[random.below(letters.size())];
  };
  add_random("a word", "abcdefghijklmnopqrstuvwxyz");
  add_random("digits", "0123456789");
  add_random("punctuation", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~");
  RandomSequence random(8);
  while (texts["ideographs"].size() < bytes)
    append_utf8(texts["ideographs"], static_cast<char32_t>(0x4E00 + random.below(20000)));
  for (const char* unit : {"a", "^", " ", "\n", "\n ", "1", "A中", "\u0301", "\u0301\u0327", "^^e\u0301", "שלום",
                           "👨‍👩‍👧", "<s> ", "\u2581", "the of a ", "<|", " a' 's", "\ue000"})
    texts[unit] = test::repeated(unit, bytes);
  return texts;
}

/// The ids; none of a text that the tokenizer refuses because it knows no piece for a part of it.
Ids encode(const Tokenizer& tokenizer, const std::string& text) {
  try {
    return tokenizer.encode(text);
  } catch (const Error&) {
    return {};
  }
}

TEST(AnyTokenizer, T4_TakesTimeInProportionToTheText) {
  constexpr std::size_t times = 4;
  const auto small = texts_of_one_kind(kMegabyte / 64 / kSlowdown);
  const auto large = texts_of_one_kind(times * kMegabyte / 64 / kSlowdown);
  for (const std::string& directory : all_directories()) {
    const auto tokenizer = load_tokenizer(test::kData / directory);
    for (const auto& [kind, text] : small) {
      const auto there_and_back = [&](const std::string& t) {
        return test::seconds([&] { tokenizer->decode(encode(*tokenizer, t)); });
      };
      const double of_small = there_and_back(text);
      const double of_large = there_and_back(large.at(kind));
      EXPECT_LT(of_large, 2 * times * of_small + 0.1) << directory << ", " << kind;
    }
  }
}

// It takes less than a second where nothing else runs: the limit leaves room for slow machines and sanitizers.
TEST(AnyTokenizer, T1_AMegabyteTakesASecondAtMost) {
  constexpr double seconds = 20;
  const auto texts = texts_of_one_kind(kMegabyte);
  for (const std::string directory : {"pipeline/gpt2", "pipeline/bert-uncased", "pipeline/albert", "pipeline/gemma",
                                      "pipeline/spm-llama", "marian-opus", "character"}) {
    const auto tokenizer = load_tokenizer(test::kData / directory);
    for (const char* kind : {"ordinary text", "a word", " ", "digits", "punctuation", "ideographs", "\u0301\u0327"})
      EXPECT_LT(test::seconds([&] { encode(*tokenizer, texts.at(kind)); }), seconds) << directory << ", " << kind;
  }
}

TEST(PipelineTexts, T4_TenMillionLettersComeBack) {
  const std::string letters(10'000'000 / kSlowdown, 'a');
  const auto tokenizer = load("llama3");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(letters)), letters);
}

TEST(PipelineStream, T5_GivesWholeCharactersAndTheTextThatDecodeGives) {
  RandomSequence random(5);
  for (const std::string& style : kStyles) {
    const auto tokenizer = load(style);
    for (int round = 0; round < 200; ++round) {
      Ids ids;
      while (ids.size() < 1 + static_cast<std::size_t>(round) % 40) {
        const auto id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(tokenizer->vocab_size())));
        if (!tokenizer->pieces()[static_cast<std::size_t>(id)].empty()) ids.push_back(id);
      }
      const auto stream = tokenizer->stream();
      std::string text;
      for (const std::int32_t id : ids) {
        const std::string part = stream->add(id);
        ASSERT_EQ(first_invalid_utf8(part), std::string::npos) << style;
        text += part;
      }
      text += stream->finish();
      ASSERT_EQ(text, tokenizer->decode(ids)) << style;
      ASSERT_EQ(first_invalid_utf8(text), std::string::npos) << style;
    }
  }
}

TEST(PipelineStream, T5_HoldsACharacterBackUntilItIsWhole) {
  for (const std::string style : {"gpt2", "llama2", "gemma"}) {
    const auto tokenizer = load(style);
    const Ids ids = tokenizer->encode("a\U0001F9A9b", {.special_tokens = false});
    const auto stream = tokenizer->stream();
    std::vector<std::string> parts;
    for (const std::int32_t id : ids) parts.push_back(stream->add(id));
    parts.push_back(stream->finish());
    EXPECT_EQ(std::ranges::count(parts, ""),
              static_cast<std::ptrdiff_t>(parts.size()) - (style[0] == 'g' && style[1] == 'p' ? 3 : 2))
        << style;
    const Ids cut(ids.begin(), ids.end() - 2);  // the text ends inside of a character
    EXPECT_EQ(tokenizer->decode(cut).substr(0, 1), "a");
    EXPECT_TRUE(contains(tokenizer->decode(cut), "\uFFFD")) << style;
  }
}

TEST(PipelineStream, T5_GivesTextAsSoonAsItIsCertain) {
  const auto tokenizer = load("llama3");
  const auto stream = tokenizer->stream();
  std::string text;
  for (const std::int32_t id : tokenizer->encode("the way")) text += stream->add(id);
  EXPECT_EQ(text, "the way");
}

TEST(PipelineDisplay, ShowsPiecesAsAPersonReadsThem) {
  const auto display = [](const std::string& style, std::string_view piece) {
    const auto tokenizer = load(style);
    const auto found = std::ranges::find(tokenizer->pieces(), piece);
    EXPECT_NE(found, tokenizer->pieces().end()) << style << " " << piece;
    return tokenizer->display(static_cast<std::int32_t>(found - tokenizer->pieces().begin()));
  };
  EXPECT_EQ(display("gpt2", "Ġthe").text, "the");
  EXPECT_TRUE(display("gpt2", "Ġthe").starts_word);
  EXPECT_EQ(display("gpt2", "Ċ").text, "\n");
  EXPECT_EQ(display("gpt2", "Ã").text, "\uFFFD");
  EXPECT_TRUE(display("gpt2", "<|endoftext|>").special);
  EXPECT_TRUE(display("llama2", "▁the").starts_word);
  EXPECT_EQ(display("llama2", "▁the").text, "the");
  EXPECT_TRUE(display("bert-cased", "the").starts_word);
  EXPECT_FALSE(display("bert-cased", "##e").starts_word);
  EXPECT_EQ(display("bert-cased", "##e").text, "e");
}

}  // namespace
}  // namespace rapt
