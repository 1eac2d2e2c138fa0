#include "decoding/continuation.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "text/utf8.h"

namespace rapt::decoding {
namespace {

std::unique_ptr<Tokenizer> load(const std::string& style) {
  return load_tokenizer(std::filesystem::path(RAPT_TEST_DATA) / "text" / "pipeline" / style);
}

// A character may be cut by the end of the prompt, whose own text then has U+FFFD there; of the second one's three
// bytes that mark has the first two.
TEST(Continuation, T5_APromptMayEndWithinACharacter) {
  for (const std::string style : {"gpt2", "llama2"}) {
    const auto tokenizer = load(style);
    for (const std::string character : {"\U0001F9A9", "\uFFE5"}) {
      const auto ids = tokenizer->encode("a" + character + "b", {.special_tokens = false});
      ASSERT_GE(ids.size(), 5);  // several tokens make the character
      for (std::size_t cut = 2; cut < ids.size() - 1; ++cut) {
        Continuation completed(*tokenizer, std::span(ids).first(cut));
        std::string text;
        for (const std::int32_t id : std::span(ids).subspan(cut)) text += completed.add(id);
        EXPECT_EQ(text + completed.finish(), character + "b") << style << " " << cut;
        Continuation broken(*tokenizer, std::span(ids).first(cut));
        text = broken.add(ids.back());
        EXPECT_EQ(text + broken.finish(), "b") << style << " " << cut;
      }
    }
  }
}

TEST(Continuation, T5_TextsOfAnyTokensAreWholeCharactersOfWhatDecodeGives) {
  RandomSequence random(5);
  for (const std::string style : {"gpt2", "llama2", "bert-uncased", "unigram-bytes", "word-suffixes", "spm-llama"}) {
    const auto tokenizer = load(style);
    for (int round = 0; round < 100; ++round) {
      std::vector<std::int32_t> ids;
      while (ids.size() < 12) {
        const auto id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(tokenizer->vocab_size())));
        if (!tokenizer->pieces()[static_cast<std::size_t>(id)].empty()) ids.push_back(id);
      }
      const auto cut = static_cast<std::size_t>(round % 12);
      Continuation continuation(*tokenizer, std::span(ids).first(cut));
      std::string text;
      for (const std::int32_t id : std::span(ids).subspan(cut)) {
        text += continuation.add(id);
        ASSERT_EQ(first_invalid_utf8(text), std::string::npos) << style;
      }
      text += continuation.finish();
      ASSERT_EQ(first_invalid_utf8(text), std::string::npos) << style;
      ASSERT_TRUE(tokenizer->decode(ids).ends_with(text)) << style;
    }
  }
}

}  // namespace
}  // namespace rapt::decoding
