#include "text/sentencepiece_trainer.h"

#include <gtest/gtest.h>

#include <charconv>
#include <stdexcept>
#include <vector>

#include "core/random.h"
#include "formats/line_reader.h"
#include "text/helpers.h"
#include "text/marian_tokenizer.h"
#include "text/unicode.h"

namespace rapt {
namespace {

using Lines = std::vector<std::string>;

/// Lines of words made of syllables, with punctuation and characters of several scripts.
Lines random_lines(std::uint64_t seed, int count) {
  const Lines syllables{"ba", "be", "bi", "do", "du", "ka", "ki", "lo", "mu", "na", "ä", "ß", "日", "本", "é", "😀"};
  const Lines punctuation{".", ",", "!", "(", ")", "\"", "-", "3.5", "&", "\u00a0"};
  RandomSequence random(seed);
  Lines lines;
  for (int i = 0; i < count; ++i) {
    std::string line;
    for (std::uint64_t word = random.below(12); word > 0; --word) {
      if (!line.empty()) line += ' ';
      if (random.below(6) == 0) {
        line += punctuation[random.below(punctuation.size())];
      } else {
        for (std::uint64_t k = 1 + random.below(4); k > 0; --k) line += syllables[random.below(syllables.size())];
      }
    }
    lines.push_back(line);
  }
  return lines;
}

/// The text with single spaces, none at the ends.
std::string with_single_spaces(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' || (!result.empty() && result.back() != ' ')) result += c;
  }
  if (result.ends_with(' ')) result.pop_back();
  return result;
}

class Training : public testing::TestWithParam<SentencePieceKind> {
 protected:
  std::string train(const Lines& lines, int vocab_size) const {
    return train_sentencepiece({.kind = GetParam(), .vocab_size = vocab_size}, lines);
  }
  std::string error(const Lines& lines, int vocab_size) const {
    return test::error_of([&] { train(lines, vocab_size); });
  }
};

TEST_P(Training, GivesTheVocabularyAskedForAndTheTextBack) {
  const Lines lines = random_lines(1, 400);
  const auto tokenizer = MarianTokenizer::joint(train(lines, 150));
  EXPECT_EQ(tokenizer->vocab_size(), 150);
  for (const std::string& line : lines) ASSERT_EQ(tokenizer->decode(tokenizer->encode(line)), strip(line));
  for (std::string line : random_lines(2, 400)) {
    line = "  " + line + " ";
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(line)), strip(with_single_spaces(line))) << "unseen words";
  }
}

TEST_P(Training, IsDeterministic) {
  const Lines lines = random_lines(3, 300);
  const std::string model = train(lines, 200);
  const Lines other_memory_in_use = random_lines(4, 1000);
  EXPECT_EQ(train(lines, 200), model);
}

TEST_P(Training, NamesTheLargestAndSmallestVocabulary) {
  const Lines lines = random_lines(5, 30);
  const auto number_after = [](const std::string& message, const std::string& words) {
    const std::size_t found = message.find(words);
    EXPECT_NE(found, std::string::npos) << message;
    int number = 0;
    std::from_chars(message.data() + found + words.size(), message.data() + message.size(), number);
    return number;
  };
  const int largest = number_after(error(lines, 5000), "the largest possible is ");
  EXPECT_EQ(MarianTokenizer::joint(train(lines, largest))->vocab_size(), largest);
  EXPECT_EQ(number_after(error(lines, largest + 1), "the largest possible is "), largest);
  const int smallest = number_after(error(lines, 10), "the smallest possible is ");
  EXPECT_EQ(MarianTokenizer::joint(train(lines, smallest))->vocab_size(), smallest);
  EXPECT_EQ(number_after(error(lines, smallest - 1), "the smallest possible is "), smallest);
}

// The library ends the program when it is given some of these.
TEST_P(Training, RefusesTextWithNothingToLearn) {
  for (const Lines& lines :
       std::vector<Lines>{{}, {""}, {" ", "   "}, {"\u2581", " \u2581 "}, {"a\u2585"}, {"", "\u2585"}}) {
    EXPECT_EQ(error(lines, 20), "there is no text to learn a vocabulary from");
  }
  for (const std::string line :
       {"a", "\t", "</s>", "<unk>", std::string("\0", 1).c_str(), "\u0301", "\ufdd0", "aaaaaaa"}) {
    EXPECT_TRUE(test::contains(error({line}, 100), "the largest possible is")) << line;
  }
}

TEST_P(Training, RefusesInvalidTextAndOptions) {
  EXPECT_EQ(error({"fine", "", "na\xEFve"}, 20), "line 3 is not valid UTF-8 at byte 2; convert it to UTF-8 first");
  EXPECT_TRUE(test::contains(error({"a"}, 3), "from 4 to"));
  EXPECT_TRUE(test::contains(error({"a"}, -1), "from 4 to"));
  const Lines lines{"a b"};
  EXPECT_TRUE(test::contains(test::error_of([&] { train_sentencepiece({.character_coverage = 0.5}, lines); }), "0.98"));
  EXPECT_TRUE(
      test::contains(test::error_of([&] { train_sentencepiece({.normalization = "nfc"}, lines); }), "nmt_nfkc"));
}

TEST_P(Training, PassesOnWhatTheSourceOfLinesThrows) {
  int line = 0;
  const auto fails_later = [&](std::string& text) -> bool {
    if (++line == 3) throw std::runtime_error("disk on fire");
    text = "some text";
    return true;
  };
  EXPECT_THROW(train_sentencepiece({.kind = GetParam(), .vocab_size = 20}, fails_later), std::runtime_error);
}

TEST_P(Training, LearnsFromLinesOfAnyLength) {
  const Lines lines = random_lines(6, 300);
  std::string one_line, one_word;
  for (const std::string& line : lines) one_line += line + " ";
  for (const char c : one_line) {
    if (c != ' ') one_word += c;
  }
  EXPECT_GT(one_line.size(), 4096u);
  const auto from_one_line = MarianTokenizer::joint(train({one_line}, 100));
  EXPECT_EQ(from_one_line->vocab_size(), 100);
  if (GetParam() == SentencePieceKind::bpe) {
    EXPECT_EQ(from_one_line->pieces(), MarianTokenizer::joint(train(lines, 100))->pieces())
        << "a long line is cut at spaces, where it makes no difference to counting words";
  }
  while (one_word.size() < 200000) one_word += one_word;
  EXPECT_EQ(MarianTokenizer::joint(train({one_word}, 100))->vocab_size(), 100);
}

TEST_P(Training, PrintsNothing) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  MarianTokenizer::joint(train(random_lines(7, 100), 100));
  error(random_lines(7, 100), 100000);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_P(Training, NormalisesIfAsked) {
  const Lines lines = random_lines(8, 100);
  const auto tokenizer = MarianTokenizer::joint(
      train_sentencepiece({.kind = GetParam(), .vocab_size = 100, .normalization = "nmt_nfkc"}, lines));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("ｂａ\u00a0ki")), "ba ki");
}

// A megabyte of text that was lower-cased and tokenised before comes back unchanged.
TEST_P(Training, GivesTokenisedTextBack) {
  const std::filesystem::path data = std::filesystem::path(RAPT_TEST_DATA) / "../../../shared/data/multi30k-tok";
  if (!std::filesystem::exists(data)) GTEST_SKIP() << "the Multi30k corpus is not on this machine: " << data;
  Lines lines;
  for (const char* language : {"en", "de"}) {
    LineReader reader(data / (std::string("train.lc.norm.tok.") + language + ".gz"));
    for (std::string line; reader.lines() < 10000 && reader.next(line);) lines.push_back(line);
  }
  const auto tokenizer = MarianTokenizer::joint(train(lines, 6000));
  EXPECT_EQ(tokenizer->vocab_size(), 6000);
  for (const std::string& line : lines) ASSERT_EQ(tokenizer->decode(tokenizer->encode(line)), strip(line));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Training, testing::Values(SentencePieceKind::bpe, SentencePieceKind::unigram),
                         [](const auto& kind) { return kind.param == SentencePieceKind::bpe ? "bpe" : "unigram"; });

}  // namespace
}  // namespace rapt
