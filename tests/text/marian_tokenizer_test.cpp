#include "text/marian_tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "core/random.h"
#include "text/helpers.h"
#include "text/sentencepiece_model.h"
#include "text/sentencepiece_trainer.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;

const std::vector<std::string> kLines{"a man sits on the mat .", "the dog runs , the cat sleeps !",
                                      "two women don't run .", "ein Mann sitzt auf der Matte .",
                                      "der Hund läuft , die Katze schläft !"};

std::string small_model(int vocab_size, SentencePieceKind kind = SentencePieceKind::bpe) {
  return train_sentencepiece({.kind = kind, .vocab_size = vocab_size}, kLines);
}

class MarianGolden : public testing::TestWithParam<const char*> {};

TEST_P(MarianGolden, HasTheIdsAndTextsOfTransformers) {
  const nlohmann::json golden = test::golden("marian.json")[GetParam()];
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(test::kData / GetParam());
  EXPECT_EQ(tokenizer->special().eos, golden["eos"].get<std::int32_t>());
  EXPECT_EQ(tokenizer->special().unk, golden["unk"].get<std::int32_t>());
  EXPECT_EQ(tokenizer->special().pad, golden["pad"].get<std::int32_t>());
  EXPECT_FALSE(tokenizer->special().bos.has_value());
  for (const auto& expected : golden["texts"]) {
    const auto text = expected["text"].get<std::string>();
    EXPECT_EQ(tokenizer->encode(text), expected["source"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->target().encode(text), expected["target"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->target().decode(expected["target"].get<Ids>()), expected["decoded"].get<std::string>())
        << text;
  }
}

TEST_P(MarianGolden, IsWrittenAsItWasRead) {
  const Scratch once, twice;
  load_tokenizer(test::kData / GetParam())->write(once.path());
  load_tokenizer(once.path())->target().write(twice.path());
  for (const auto& entry : std::filesystem::directory_iterator(test::kData / GetParam())) {
    const std::filesystem::path name = entry.path().filename();
    const std::string original = test::read_bytes(entry.path());
    const std::string written = test::read_bytes(once.path() / name);
    EXPECT_EQ(written, test::read_bytes(twice.path() / name)) << name;
    if (name.extension() == ".spm") {
      EXPECT_EQ(written, original) << name;
    }
    if (name == "vocab.json" || name == "target_vocab.json") {
      EXPECT_EQ(nlohmann::json::parse(written), nlohmann::json::parse(original)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Directories, MarianGolden, testing::Values("marian-opus", "marian-separate"));

TEST(MarianTokenizer, OfOneModelHasTheIdsOfTheModelAndPadLast) {
  const auto tokenizer = MarianTokenizer::joint(small_model(60), {.source_lang = "en", .target_lang = "de"});
  EXPECT_EQ(tokenizer->vocab_size(), 60);
  EXPECT_EQ(tokenizer->special().eos, 0);
  EXPECT_EQ(tokenizer->special().unk, 1);
  EXPECT_EQ(tokenizer->special().pad, 59);
  EXPECT_EQ(tokenizer->pieces()[0], "</s>");
  EXPECT_EQ(tokenizer->pieces()[1], "<unk>");
  EXPECT_EQ(tokenizer->pieces()[59], "<pad>");
  EXPECT_FALSE(tokenizer->has_separate_vocabularies());
  EXPECT_EQ(&tokenizer->target().target(), &tokenizer->target());
  for (const std::string& line : kLines) {
    const Ids ids = tokenizer->encode(line);
    EXPECT_EQ(ids.back(), 0);
    EXPECT_EQ(tokenizer->target().encode(line), ids);
    EXPECT_EQ(tokenizer->decode(ids), line);
  }
}

TEST(MarianTokenizer, OfTwoModelsHasTwoVocabularies) {
  const auto tokenizer = MarianTokenizer::separate(small_model(44), small_model(44, SentencePieceKind::unigram));
  EXPECT_TRUE(tokenizer->has_separate_vocabularies());
  EXPECT_NE(tokenizer->pieces(), tokenizer->target().pieces());
  EXPECT_EQ(tokenizer->special().pad, tokenizer->target().special().pad);
  for (const std::string& line : kLines) EXPECT_EQ(tokenizer->target().decode(tokenizer->target().encode(line)), line);
  EXPECT_TRUE(test::contains(test::error_of([] { MarianTokenizer::separate(small_model(60), small_model(61)); }),
                             "\"<pad>\" has id 59 in vocab.json and 60 in target_vocab.json"));
}

TEST(MarianTokenizer, ShowsWhereWordsBegin) {
  const auto tokenizer = MarianTokenizer::joint(small_model(60));
  const Ids ids = tokenizer->encode("the ☃ mats");
  std::string shown;
  int special = 0;
  for (const std::int32_t id : ids) {
    const DisplayPiece piece = tokenizer->display(id);
    if (piece.special) {
      ++special;
    } else {
      shown += (piece.starts_word ? " " : "") + piece.text;
    }
  }
  EXPECT_EQ(shown, " the  mats");
  EXPECT_EQ(special, 2) << "unk and eos";
  EXPECT_EQ(tokenizer->display(0).text, "</s>");
}

TEST(MarianTokenizer, RefusesBadTextAndIds) {
  const auto tokenizer = MarianTokenizer::joint(small_model(60));
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->encode("ab\xC3"); }), "not valid UTF-8 at byte 2"));
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->decode(Ids{60}); }), "60 is not in the vocabulary"));
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->decode(Ids{-1}); }), "-1"));
  EXPECT_TRUE(test::contains(test::error_of([&] { tokenizer->display(1000); }), "1000"));
}

// Long runs of unknown characters are shortened before they are cut, which must not show.
TEST(MarianTokenizer, MakesOneUnknownTokenOfARunOfAnyLength) {
  const auto tokenizer = MarianTokenizer::joint(small_model(60));
  const std::int32_t unk = *tokenizer->special().unk;
  const Ids sign = tokenizer->encode("the man^the man");
  ASSERT_EQ(std::ranges::count(sign, unk), 1);
  RandomSequence random(11);
  for (int round = 0; round < 20; ++round) {
    std::string run;
    for (std::uint64_t length = 1 + random.below(30000); run.size() < length;) {
      run += std::vector<std::string>{"^", "\u0301", "☃", "👩"}[random.below(4)];
    }
    EXPECT_EQ(tokenizer->encode("the man" + run + "the man"), sign);
    EXPECT_EQ(tokenizer->encode("the man" + run + "the man" + std::string(9000, ' ')), sign);
    Ids twice(sign.begin(), sign.end() - 1);
    const Ids more = tokenizer->encode("^ the man");
    twice.insert(twice.end(), more.begin(), more.end());
    EXPECT_EQ(tokenizer->encode("the man" + run + "the man " + run + " the man"), twice);
  }
}

// reliability T4: texts of a megabyte of one kind.
TEST(MarianTokenizer, EncodesLongTextsInTheirShareOfTime) {
  const auto tokenizer = MarianTokenizer::joint(small_model(60));
  constexpr std::size_t megabyte = std::size_t{1} << 20, part = 16;
  for (const std::string_view pattern :
       {"a", "^", "the man ", "\u0301", "👨‍👩‍👧‍👦", "</s>", "<", ">>a<<"}) {
    const auto round_trip = [&](std::size_t bytes) {
      return test::seconds([&] { tokenizer->decode(tokenizer->encode(test::repeated(pattern, bytes))); });
    };
    const double small = round_trip(megabyte / part);
    const double large = round_trip(megabyte);
    EXPECT_LT(large, 4 * part * small + 1) << pattern << ": " << small << " s and " << large << " s";
  }
}

/// A copy of a golden directory with one file changed; `mention` must be part of the error of reading it.
void expect_refused(const std::string& file, const std::function<std::string(std::string)>& change,
                    const std::string& mention) {
  const Scratch directory;
  std::filesystem::copy(test::kData / "marian-separate", directory.path());
  const std::filesystem::path path = directory.path() / file;
  test::write_bytes(path, change(std::filesystem::exists(path) ? test::read_bytes(path) : ""));
  const std::string message = test::error_of([&] { load_tokenizer(directory.path()); });
  EXPECT_TRUE(test::contains(message, mention)) << message;
  EXPECT_TRUE(test::contains(message, directory.path().string())) << message;
}

/// The change that sets one key of a JSON file.
std::function<std::string(std::string)> with(const std::string& key, const nlohmann::json& value) {
  return [=](const std::string& text) {
    nlohmann::json json = nlohmann::json::parse(text);
    json[key] = value;
    return json.dump();
  };
}

std::function<std::string(std::string)> as(const std::string& contents) {
  return [=](const std::string&) { return contents; };
}

TEST(MarianTokenizer, RefusesSettingsItDoesNotKnow) {
  const std::string config = "tokenizer_config.json";
  expect_refused(config, with("tokenizer_class", "T5Tokenizer"), "MarianTokenizer");
  expect_refused(config, with("sp_model_kwargs", {{"enable_sampling", true}}), "sp_model_kwargs");
  expect_refused(config, with("additional_special_tokens", {"<x>"}), "additional_special_tokens");
  expect_refused(config, with("split_special_tokens", true), "split_special_tokens");
  expect_refused(config, with("do_lower_case", true), "do_lower_case");
  expect_refused(config, with("eos_token", "<end>"), "added_tokens_decoder.0");
  expect_refused(config, with("eos_token", {{"content", "</s>"}, {"lstrip", true}}), "eos_token");
  expect_refused(config, with("pad_token", 7), "pad_token");
  expect_refused(config, with("added_tokens_decoder", {{"3", {{"content", "<x>"}}}}), "added_tokens_decoder.3");
  expect_refused(config, with("added_tokens_decoder", {{"5", {{"content", "</s>"}}}}), "added_tokens_decoder.5");
  expect_refused(config, with("separate_vocabs", "yes"), "separate_vocabs");
  expect_refused(config, as("[]"), config);
  expect_refused("special_tokens_map.json", as(R"({"unk_token": "<none>"})"), "<none>");
}

TEST(MarianTokenizer, RefusesDamagedFiles) {
  expect_refused("source.spm", as(""), "source.spm is empty");
  expect_refused("source.spm", as("This is no model."), "source.spm is damaged");
  expect_refused(
      "target.spm", [](std::string bytes) { return bytes.substr(0, bytes.size() / 2); }, "target.spm is");
  expect_refused("vocab.json", as("{}"), "vocab.json");
  expect_refused("vocab.json", as("[1, 2"), "vocab.json");
  expect_refused("vocab.json", with("new", -1), "\"new\": expected an id from 0 to");
  expect_refused("vocab.json", with("new", 1e9), "\"new\": expected an id from 0 to");
  expect_refused("vocab.json", with("new", 4000000000u), "\"new\": expected an id from 0 to");
  expect_refused("vocab.json", with("new", "1"), "\"new\": expected an id from 0 to");
  expect_refused("vocab.json", with("new", 0), "id 0 belongs to two pieces");
  expect_refused("vocab.json", with("", 46), "empty");
  expect_refused("vocab.json", as(R"({"</s>": 0, "<unk>": 1, "a": 2, "<pad>": 3})"), "added_tokens_decoder.45");
  expect_refused("target_vocab.json", as(R"({"</s>": 0, "<pad>": 45})"), "expected an id");
}

// The SentencePiece library follows the rules of normalisation in a model without looking where they lead.
TEST(SentencePieceModel, SurvivesDamage) {
  for (const char* file : {"marian-opus/source.spm", "marian-opus/target.spm", "marian-separate/source.spm"}) {
    const std::string sound = test::read_bytes(test::kData / file);
    RandomSequence random(13);
    int refused = 0;
    constexpr int rounds = 3000;
    for (int round = 0; round < rounds; ++round) {
      std::string damaged = sound;
      for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
        const std::size_t position = random.below(damaged.size());
        damaged[position] = static_cast<char>(random.below(256));
        if (random.below(4) == 0) damaged.erase(position, 1 + random.below(8));
      }
      try {
        const SentencePieceModel model(damaged, "model.spm");
        model.decode(model.encode("the man … ﬁne a\u00a0b ^^^"));
      } catch (const Error& error) {
        ++refused;
        ASSERT_TRUE(test::contains(error.what(), "model.spm") || test::contains(error.what(), "SentencePiece"));
      }
    }
    EXPECT_GT(refused, 0) << file;
    EXPECT_LT(refused, rounds) << file;
  }
}

TEST(MarianTokenizer, NamesTheFileThatIsMissing) {
  for (const std::string name : {"target.spm", "vocab.json", "target_vocab.json"}) {
    const Scratch directory;
    std::filesystem::copy(test::kData / "marian-separate", directory.path());
    std::filesystem::remove(directory.path() / name);
    EXPECT_TRUE(test::contains(test::error_of([&] { load_tokenizer(directory.path()); }), name));
  }
}

TEST(MarianTokenizer, ReadsADirectoryWithoutConfigAndAVocabularyWithGaps) {
  const Scratch directory;
  const auto tokenizer = MarianTokenizer::joint(small_model(60));
  tokenizer->write(directory.path());
  std::filesystem::remove(directory.path() / "tokenizer_config.json");
  nlohmann::json vocabulary = nlohmann::json::parse(test::read_bytes(directory.path() / "vocab.json"));
  vocabulary["<pad>"] = 70;
  test::write_bytes(directory.path() / "vocab.json", vocabulary.dump());
  const std::unique_ptr<Tokenizer> read = load_tokenizer(directory.path());
  EXPECT_EQ(read->vocab_size(), 71);
  EXPECT_EQ(read->special().pad, 70);
  EXPECT_EQ(read->encode(kLines[0]), tokenizer->encode(kLines[0]));
  EXPECT_TRUE(test::contains(test::error_of([&] { read->decode(Ids{65}); }), "65 has no piece"));
}

}  // namespace
}  // namespace rapt
