// Directories of mBART, NLLB and M2M-100 with a SentencePiece model and no tokenizer.json. The ids are those of the
// classic tokenizers of transformers (4.57.1, equal in every line), which pretrained models expect;
// script/goldens/languages.py says how those of 5.23 differ.
#include "text/translation_languages.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "text/helpers.h"
#include "text/text_frame.h"
#include "text/tokenizer.h"
#include "text/ugly_text.h"

namespace rapt {
namespace {

using Ids = std::vector<std::int32_t>;
using Names = std::vector<std::string>;

void put_model(const std::filesystem::path& directory) {
  test::write_bytes(directory / "sentencepiece.bpe.model",
                    test::read_bytes(test::kData / "pipeline/spm-xlm-roberta/sentencepiece.bpe.model"));
}

void put_vocabulary(const std::filesystem::path& directory, const Names& pieces) {
  nlohmann::json ids;
  for (std::size_t id = 0; id < pieces.size(); ++id) ids[pieces[id]] = id;
  test::write_bytes(directory / "vocab.json", ids.dump());
}

class TranslationLanguages : public testing::TestWithParam<std::string> {
 protected:
  TranslationLanguages() {
    put_model(scratch_.path());
    test::write_bytes(scratch_ / "tokenizer_config.json", golden_["config"].dump());
    if (golden_.contains("vocabulary")) put_vocabulary(scratch_.path(), golden_["vocabulary"].get<Names>());
    tokenizer_ = load_tokenizer(scratch_.path());
  }

  nlohmann::json golden_ = test::golden("languages.json")[GetParam()];
  Scratch scratch_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TranslationLanguages, IdsAreThoseOfPretrainedModels) {
  ASSERT_EQ(tokenizer_->vocab_size(), golden_["size"].get<std::int32_t>());
  const auto languages = golden_["languages"].get<Names>();
  const auto first = golden_["first"].get<std::size_t>();
  for (std::size_t i = 0; i < languages.size(); ++i) {
    EXPECT_EQ(tokenizer_->pieces()[first + i], languages[i]);
    EXPECT_TRUE(tokenizer_->display(static_cast<std::int32_t>(first + i)).special);
  }
  test::BlockChecksums checksums;
  for (std::size_t i = 0; i < 2000; ++i) {
    std::string line = test::ugly_lines()[i];
    if (i % 7 == 0) {
      std::size_t place = 0;  // behind the ninth character
      for (int left = 9; place < line.size() && (left > 0 || (line[place] & 0xC0) == 0x80); ++place)
        left -= (line[place] & 0xC0) != 0x80;
      line.insert(place, languages[i % languages.size()]);
    }
    const Ids ids = tokenizer_->encode(line);
    if (i < golden_["lines"].size()) {
      EXPECT_EQ(ids, golden_["lines"][i].get<Ids>()) << i << ": " << line;
    }
    checksums.add(fmt::format("{}", fmt::join(ids, " ")));
  }
  EXPECT_EQ(checksums.checksums(), golden_["ids"].get<std::vector<std::uint32_t>>());
}

TEST_P(TranslationLanguages, MarkBothSidesOfATranslation) {
  const nlohmann::json& pair = golden_["pair"];
  const PairFrames frames = pair_frames(
      *tokenizer_, {},
      {.source = pair["source_language"].get<std::string>(), .target = pair["target_language"].get<std::string>()},
      "the model");
  const Ids inside = tokenizer_->encode(pair["text"].get<std::string>(), {.special_tokens = false});
  EXPECT_EQ(frames.source.around(inside), pair["source"].get<Ids>());
  EXPECT_EQ(frames.target.around(inside), pair["target"].get<Ids>());
  EXPECT_EQ(frames.language_ends, GetParam() == "mbart" || GetParam() == "nllb-legacy");
}

TEST_P(TranslationLanguages, TextComesBackWithoutThem) {
  const std::string text = "the long way";
  EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
}

TEST_P(TranslationLanguages, AreWrittenAsTheyWereRead) {
  const Scratch copy;
  tokenizer_->write(copy.path());
  const auto again = load_tokenizer(copy.path());
  EXPECT_EQ(again->files(), tokenizer_->files());
  EXPECT_EQ(again->pieces(), tokenizer_->pieces());
}

/// What published directories say beside that: tokens with their ids, and keys without effect.
TEST_P(TranslationLanguages, AreTheSameWhereFilesRepeatThem) {
  nlohmann::json config = golden_["config"];
  const Names& pieces = tokenizer_->pieces();
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (!tokenizer_->display(static_cast<std::int32_t>(id)).special) continue;
    config["added_tokens_decoder"][std::to_string(id)] = {{"content", pieces[id]},
                                                          {"lstrip", pieces[id] == "<mask>"},
                                                          {"normalized", pieces[id] == "<mask>"},
                                                          {"special", true}};
  }
  config["additional_special_tokens"] = golden_["languages"];
  config.update({{"tgt_lang", nullptr}, {"sp_model_kwargs", nlohmann::json::object()}, {"cls_token", "<s>"}});
  test::write_bytes(scratch_ / "tokenizer_config.json", config.dump());
  const auto again = load_tokenizer(scratch_.path());
  EXPECT_EQ(again->pieces(), pieces);
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(again->encode(test::ugly_lines()[i]), tokenizer_->encode(test::ugly_lines()[i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, TranslationLanguages,
                         testing::Values("mbart", "mbart50", "nllb", "nllb-legacy", "m2m100", "wmt21"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

/// A directory without tokenizer_config.json, as the first ones were.
class UsualClass : public testing::Test {
 protected:
  UsualClass() {
    put_model(scratch_.path());
    put_vocabulary(scratch_.path(), test::golden("languages.json")["m2m100"]["vocabulary"].get<Names>());
  }
  std::unique_ptr<Tokenizer> with(const std::string& config) {
    test::write_bytes(scratch_ / "config.json", config);
    return load_tokenizer(scratch_.path());
  }
  std::string error_with(const std::string& config) {
    return test::error_of([&] { with(config); });
  }

  Scratch scratch_;
};

TEST_F(UsualClass, IsThatOfTheModelType) {
  const std::int32_t pieces = test::golden("languages.json")["mbart"]["size"].get<std::int32_t>() - 27;
  EXPECT_EQ(with(R"({"model_type": "xlm-roberta"})")->vocab_size(), pieces + 2);
  EXPECT_EQ(with(fmt::format(R"({{"model_type": "mbart", "vocab_size": {}}})", pieces + 27))->vocab_size(),
            pieces + 27);
  EXPECT_EQ(with(R"({"model_type": "m2m_100"})")->pieces().back(), "__zu__");
  EXPECT_EQ(with(R"({"model_type": "mt5"})")->pieces().back(), "<extra_id_0>");
  EXPECT_TRUE(test::contains(error_with(R"({"model_type": "bert"})"), "\"tokenizer_class\""));
}

/// As the class of transformers does it, which no other class does.
TEST_F(UsualClass, OfM2m100DropsSpacesAtTheEnd) {
  const auto tokenizer = with(R"({"model_type": "m2m_100"})");
  const auto space = find_piece(*tokenizer, {"\u2581"});
  ASSERT_TRUE(space.has_value());
  const std::vector<std::int32_t> ids{*space, *space};
  EXPECT_EQ(tokenizer->decode(ids), "");
}

TEST_F(UsualClass, IsOverruledByTheNamedOne) {
  EXPECT_EQ(with(R"({"model_type": "m2m_100", "tokenizer_class": "NllbTokenizerFast"})")->encode("")[0],
            find_piece(*with(R"({"model_type": "m2m_100", "tokenizer_class": "NllbTokenizer"})"), {"eng_Latn"}));
  const std::string error = error_with(R"({"model_type": "m2m_100", "tokenizer_class": "FooTokenizer"})");
  EXPECT_TRUE(test::contains(error, "config.json: \"tokenizer_class\": expected one of LlamaTokenizer, ")) << error;
}

TEST_F(UsualClass, IsNotGuessedForMbart) {
  const std::string error = error_with(R"({"model_type": "mbart", "vocab_size": 250054})");
  EXPECT_TRUE(test::contains(error, "expected MBartTokenizer or MBart50Tokenizer")) << error;
}

TEST_F(UsualClass, NeedsItsVocabulary) {
  using test::contains;
  const std::string config = R"({"model_type": "m2m_100"})";
  put_vocabulary(scratch_.path(), {"<s>", "<pad>", "</s>", "<unk>", "__de__"});
  EXPECT_TRUE(contains(error_with(config), "languages")) << error_with(config);
  test::write_bytes(scratch_ / "vocab.json", R"({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 4})");
  EXPECT_TRUE(contains(error_with(config), "no piece has the id 3")) << error_with(config);
  test::write_bytes(scratch_ / "vocab.json", R"({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 2})");
  EXPECT_TRUE(contains(error_with(config), "id 2 belongs to two pieces")) << error_with(config);
  std::filesystem::remove(scratch_ / "vocab.json");
  EXPECT_TRUE(contains(error_with(config), "vocab.json is missing")) << error_with(config);
}

TEST(TranslationLanguage, MustBeOneOfTheTokenizers) {
  const Scratch scratch;
  put_model(scratch.path());
  test::write_bytes(scratch / "tokenizer_config.json", R"({"tokenizer_class": "MBartTokenizer", "src_lang": "sl_SI"})");
  const std::string error = test::error_of([&] { load_tokenizer(scratch.path()); });
  EXPECT_TRUE(test::contains(error, "\"src_lang\": expected one of ar_AR, ")) << error;
}

}  // namespace
}  // namespace rapt
