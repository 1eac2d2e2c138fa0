#include "text/sentencepiece_trainer.h"

#include <fmt/core.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <exception>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "core/error.h"
#include "formats/printable.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"

namespace rapt {
namespace {

using sentencepiece::util::Status;

/// <pad> is in the vocabulary but not in the model.
constexpr int kTokensOutsideModel = 1;
constexpr int kSpecialTokens = 3;
/// The library adds up sums of floats by thread, so their number is part of the result and cannot be a matter of the
/// machine.
constexpr int kThreads = 4;
/// The library cannot count pairs in words beyond 32,767 characters, and needs time quadratic in the length of a word.
constexpr std::size_t kMaxSentenceBytes = 4096;
/// What the library puts in place of unknown characters.
constexpr std::string_view kReservedCharacter = "\u2585";

/// Where to cut a text that is too long for one sentence: before the last space that leaves it short enough, or else
/// between characters.
std::size_t sentence_length(std::string_view text) {
  if (text.size() <= kMaxSentenceBytes) return text.size();
  const std::size_t space = text.rfind(' ', kMaxSentenceBytes);
  if (space != text.npos && space > 0) return space;
  return complete_utf8_prefix(text.substr(0, kMaxSentenceBytes));
}

/// Whether the library can learn from a sentence. It ends the program when no sentence has any character but spaces and
/// word marks.
bool is_usable(std::string_view sentence) {
  if (sentence.find(kReservedCharacter) != sentence.npos) return false;
  while (sentence.starts_with(' ') || sentence.starts_with(kWordMark)) {
    sentence.remove_prefix(sentence.starts_with(' ') ? 1 : kWordMark.size());
  }
  return !sentence.empty();
}

/// Lines as the library wants them: one usable sentence after the other. An exception ends the sentences and is kept,
/// because it must not pass through the library.
class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const NextLine& next_line) : next_line_(next_line) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return sentence_; }
  Status status() const override { return {}; }

  void Next() override {
    try {
      do {
        if (rest_.empty() && !read_line()) {
          done_ = true;
          return;
        }
        const std::size_t length = sentence_length(rest_);
        sentence_ = rest_.substr(0, length);
        rest_.remove_prefix(length);
      } while (!is_usable(sentence_));
    } catch (...) {
      error_ = std::current_exception();
      done_ = true;
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  /// Reads the next line that is not empty.
  bool read_line() {
    do {
      if (!next_line_(line_)) return false;
      ++line_number_;
    } while (line_.empty());
    if (first_invalid_utf8(line_) != std::string::npos) require_utf8(line_, fmt::format("line {}", line_number_));
    rest_ = line_;
    return true;
  }

  const NextLine& next_line_;
  std::string line_;
  std::string_view rest_;  // of line_
  std::string sentence_;
  std::size_t line_number_ = 0;
  bool done_ = false;
  std::exception_ptr error_;
};

/// The number that follows `text` in a message.
std::optional<int> number_after(std::string_view message, std::string_view text) {
  const std::size_t found = message.find(text);
  if (found == message.npos) return std::nullopt;
  const std::string_view digits = message.substr(found + text.size());
  int number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return result.ec == std::errc() ? std::optional(number) : std::nullopt;
}

/// Turns what the library says into an Error.
[[noreturn]] void explain(std::string_view message, const SentencePieceOptions& options) {
  if (const auto largest = number_after(message, "Please set it to a value <= ")) {
    fail("the text has too little variety for a vocabulary of {}; the largest possible is {}", options.vocab_size,
         *largest + kTokensOutsideModel);
  }
  if (const auto smallest = number_after(message, fmt::format("{} vs ", options.vocab_size - kTokensOutsideModel))) {
    fail(
        "a vocabulary of {} is too small for the characters of the text; the smallest possible is {}, or less with a "
        "lower character coverage",
        options.vocab_size, *smallest + kTokensOutsideModel);
  }
  fail("SentencePiece cannot learn from the text: {}", printable(message, 400));
}

void check(const SentencePieceOptions& options) {
  constexpr std::string_view rules[] = {"identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"};
  constexpr int largest = 1 << 24;
  require(options.vocab_size > kSpecialTokens && options.vocab_size <= largest,
          "a vocabulary of {} is not possible; it must have from {} to {} pieces, three of them for special tokens",
          options.vocab_size, kSpecialTokens + 1, largest);
  require(options.character_coverage >= 0.98 && options.character_coverage <= 1.0,
          "a character coverage of {} is not possible; it must be from 0.98 to 1", options.character_coverage);
  require(std::ranges::find(rules, options.normalization) != std::end(rules),
          "\"{}\" is no normalisation; there are identity, nfkc, nmt_nfkc, nfkc_cf and nmt_nfkc_cf",
          printable(options.normalization));
}

std::unordered_map<std::string, std::string> library_options(const SentencePieceOptions& options) {
  constexpr std::string_view only_fatal_messages = "3";
  return {{"model_type", options.kind == SentencePieceKind::bpe ? "bpe" : "unigram"},
          {"vocab_size", std::to_string(options.vocab_size - kTokensOutsideModel)},
          {"character_coverage", fmt::format("{}", options.character_coverage)},
          {"normalization_rule_name", options.normalization},
          {"num_threads", std::to_string(kThreads)},
          {"eos_id", "0"},
          {"unk_id", "1"},
          {"bos_id", "-1"},
          {"pad_id", "-1"},
          {"minloglevel", std::string(only_fatal_messages)}};
}

}  // namespace

std::string train_sentencepiece(const SentencePieceOptions& options, const NextLine& next_line) {
  check(options);
  Sentences sentences(next_line);
  sentences.rethrow();
  require(!sentences.done(), "there is no text to learn a vocabulary from");
  std::string model;
  const Status status = sentencepiece::SentencePieceTrainer::Train(library_options(options), &sentences, &model);
  sentences.rethrow();
  if (!status.ok()) explain(status.message(), options);
  return model;
}

std::string train_sentencepiece(const SentencePieceOptions& options, std::span<const std::string> lines) {
  std::size_t next = 0;
  return train_sentencepiece(options, [&](std::string& line) {
    if (next == lines.size()) return false;
    line = lines[next++];
    return true;
  });
}

}  // namespace rapt
