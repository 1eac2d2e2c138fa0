#include "decoding/conversation.h"

#include <gtest/gtest.h>

#include "decoding/tiny_language_model.h"

namespace rapt::decoding {
namespace {

class ConversationTest : public testing::Test {
 protected:
  ConversationTest() { write_tiny_language_model(path_, {.chat_template = tiny_chat_template}); }
  /// Answers that depend on every token before them and are the same at each try.
  static GenerateOptions greedy(int max_tokens = 12) {
    return {.max_tokens = max_tokens, .sampling = {.temperature = 0}};
  }
  Conversation conversation(std::int32_t context = 0) { return {model(), *ChatTemplate::read(path_), context}; }
  LanguageModel& model() {
    if (!model_) model_.emplace(path_, GeneratorOptions{.threads = 1});
    return *model_;
  }
  /// What the model writes behind a text that it reads whole.
  std::string continuation(const std::string& text, int max_tokens = 12) {
    GenerateOptions options = greedy(max_tokens);
    options.stop = {"<|end|>"};
    return model().generate(std::span(&text, 1), options)[0][0].text;
  }

  Scratch scratch_;
  std::filesystem::path path_ = scratch_ / "model";
  std::optional<LanguageModel> model_;
};

TEST_F(ConversationTest, EachTurnIsWhatTheTemplateWritesAndOnlyWhatIsNewIsRead) {
  Conversation chat = conversation();
  chat.set_system("be brief");
  std::string text = "<|system|>be brief<|end|>";
  bool first = true;
  for (const char* message : {"the first", "another one", "x"}) {
    text += std::string("<|user|>") + message + "<|end|><|bot|>";
    const std::string expected = continuation(text);
    const Reply reply = chat.send(message, greedy());
    EXPECT_EQ(reply.text, expected);
    text += expected + "<|end|>";
    if (!first) {
      EXPECT_LT(reply.tokens_read, reply.prompt_tokens - 10) << "what was there is read again";
    }
    first = false;
  }
  EXPECT_EQ(chat.messages().size(), 6U);
}

TEST_F(ConversationTest, ForgetsWhatIsTakenBack) {
  Conversation chat = conversation();
  const std::string first = chat.send("the first", greedy()).text;
  const std::string second = chat.send("another", greedy()).text;
  chat.send("something else", greedy());
  EXPECT_TRUE(chat.undo());
  EXPECT_TRUE(chat.undo());
  EXPECT_EQ(chat.send("another", greedy()).text, second);
  chat.clear();
  EXPECT_TRUE(chat.messages().empty());
  EXPECT_FALSE(chat.undo());
  EXPECT_EQ(chat.send("the first", greedy()).text, first);
  chat.clear();
  chat.set_system("be brief");
  EXPECT_EQ(chat.send("the first", greedy()).text,
            continuation("<|system|>be brief<|end|><|user|>the first<|end|><|bot|>"));
}

TEST_F(ConversationTest, AnAnswerThatIsEndedEarlyStaysAsFarAsItWasShown) {
  Conversation chat = conversation();
  std::string shown;
  int asked = 0;
  const Reply reply = chat.send(
      "the first", greedy(60), [&](std::string_view more) { shown += more; }, [&] { return ++asked < 6; });
  EXPECT_EQ(reply.finish, FinishReason::cancelled);
  EXPECT_EQ(reply.text, shown);
  EXPECT_FALSE(shown.empty());
  EXPECT_EQ(chat.messages().back().content, shown);
  EXPECT_EQ(chat.send("go on", greedy()).text,
            continuation("<|user|>the first<|end|><|bot|>" + shown + "<|end|><|user|>go on<|end|><|bot|>"));
  const Reply none = chat.send("never read", greedy(), {}, [] { return false; });
  EXPECT_EQ(none.finish, FinishReason::cancelled);
  EXPECT_EQ(none.tokens_written, 0);
  EXPECT_EQ(chat.messages().size(), 4U) << "it leaves no trace";
}

TEST_F(ConversationTest, LeavesOutTheOldestTurnsWhenTheContextIsFull) {
  Conversation chat = conversation(120);
  chat.set_system("be brief");
  std::int64_t left_out = 0;
  for (int turn = 0; turn < 12; ++turn) {
    const Reply reply = chat.send("turn " + std::to_string(turn), greedy(10));
    EXPECT_LE(reply.prompt_tokens + reply.tokens_written, 120);
    left_out += reply.messages_left_out;
    EXPECT_EQ(chat.left_out(), left_out);
    std::string text = "<|system|>be brief<|end|>";
    for (auto i = static_cast<std::size_t>(left_out); i + 1 < chat.messages().size(); ++i) {
      const auto& [role, content] = chat.messages()[i];
      text += (role == "user" ? "<|user|>" : "<|bot|>") + content + "<|end|>";
    }
    EXPECT_EQ(reply.text, continuation(text + "<|bot|>", 10)) << "turn " << turn;
  }
  EXPECT_GT(left_out, 8);
  EXPECT_EQ(chat.messages().size(), 24U) << "what is left out is still there to be saved";
  const std::string before = chat.messages().back().content;
  EXPECT_TRUE(refuses([&] { chat.send(std::string(200, 'x'), greedy()); }, "the message has", "room for 120"));
  EXPECT_EQ(chat.messages().back().content, before) << "an error leaves no trace";
  EXPECT_EQ(chat.send("short", greedy(10)).finish, FinishReason::length);
}

TEST_F(ConversationTest, WorksWithLayersThatCannotGoBack) {
  std::filesystem::remove_all(path_);
  write_tiny_language_model(path_, {.chat_template = tiny_chat_template, .decoder_attention = "retention"});
  Conversation chat = conversation();
  const std::string first = chat.send("the first", greedy()).text;
  EXPECT_EQ(chat.send("x", greedy()).text,
            continuation("<|user|>the first<|end|><|bot|>" + first + "<|end|><|user|>x<|end|><|bot|>"));
}

TEST_F(ConversationTest, WhatTheTemplateRefusesLeavesNoTrace) {
  put(path_ / "chat_template.jinja",
      std::string("{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('not this') }}{% endif %}"
                  "{% endfor %}") +
          tiny_chat_template);
  Conversation chat = conversation();
  chat.send("yes", greedy());
  EXPECT_TRUE(refuses([&] { chat.send("no", greedy()); }, "chat_template.jinja", "not this"));
  EXPECT_EQ(chat.messages().size(), 2U);
  EXPECT_TRUE(refuses([&] { chat.send("\xff", greedy()); }, "the message", "UTF-8"));
}

/// <|user|> ends no text by the model's files, but the template writes it behind answers.
TEST_F(ConversationTest, WhatTheTemplateWritesBehindAnAnswerEndsIt) {
  put(path_ / "chat_template.jinja", "{% for m in messages %}<|bot|>{{ m.content }}<|user|>{% endfor %}<|bot|>");
  GenerateOptions options{.max_tokens = 300};
  int ended = 0;
  for (options.seed = 1; options.seed < 12; ++options.seed) {
    const std::string prompt = "<|bot|>go<|user|><|bot|>";
    const auto text = model().generate(std::span(&prompt, 1), options)[0][0];
    const auto user = std::ranges::find(text.tokens, user_token, &GeneratedToken::id);
    const Reply reply = conversation().send("go", options);
    if (user != text.tokens.end()) {
      EXPECT_EQ(reply.finish, FinishReason::end);
      ++ended;
    }
  }
  EXPECT_GT(ended, 3);
}

}  // namespace
}  // namespace rapt::decoding
