/// Talking with a language model through its chat template.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "decoding/language_model.h"
#include "decoding/model_stepper.h"
#include "text/chat_template.h"

namespace rapt::decoding {

struct ChatMessage {
  std::string role;  ///< "user" or "assistant"
  std::string content;
};

/// What a model answered, and what it took.
struct Reply {
  std::string text;
  FinishReason finish = FinishReason::end;
  std::int64_t prompt_tokens = 0;  ///< of the conversation so far, as the template writes it
  std::int64_t tokens_read = 0;    ///< of those, the ones that were not in the cache yet
  std::int64_t tokens_written = 0;
  double seconds_to_read = 0;
  double seconds_to_write = 0;
  std::int64_t messages_left_out = 0;  ///< newly, because the conversation had outgrown the context
};

/// Called with the answer as it grows.
using OnReply = std::function<void(std::string_view more)>;
/// Asked before each token and before each chunk of what is read: false ends the answer.
using GoOn = std::function<bool()>;

/// A conversation, with the keys and values of what the model has read and written of it. Each turn, the template
/// writes it out anew, and the model reads from where that differs from what it knows. The oldest turns are left out,
/// down to half the context, when the conversation does not fit it any more.
class Conversation {
 public:
  /// The model must outlive this. context: most tokens that the model looks at, 0: as many as it was made for, or as
  /// half of the free memory has room for. Throws Error for a context that the model or the memory does not have.
  Conversation(LanguageModel& model, ChatTemplate chat_template, std::int32_t context = 0);

  /// Sends a message. An answer that is ended early stays in the conversation as far as it was shown; one that had not
  /// begun leaves no trace, and neither does an error: what the template refuses, or a message that does not fit the
  /// context. Of the options, beams, samples, prefix and stop strings are for other uses and ignored.
  Reply send(const std::string& message, const GenerateOptions& options, const OnReply& on_reply = {},
             const GoOn& go_on = {}, const OnRead& on_read = {});
  /// From the next turn on; empty: none.
  void set_system(std::string text) { system_ = std::move(text); }
  const std::string& system() const { return system_; }
  /// Takes back the last message and its answer; whether there was one.
  bool undo();
  void clear();

  /// Messages and answers in turn, those that are left out included.
  const std::vector<ChatMessage>& messages() const { return messages_; }
  std::int32_t context() const { return stepper_.capacity(); }
  /// Messages that the model does not see any more.
  std::int64_t left_out() const { return static_cast<std::int64_t>(left_out_); }

 private:
  std::string rendered(std::span<const ChatMessage> messages, bool answer) const;
  std::vector<std::int32_t> tokens() const;
  std::vector<std::int32_t> fitting_tokens(const GenerateOptions& options);
  void find_end_of_turn();
  void keep_common(std::span<const std::int32_t> prompt);
  Reply write(const std::vector<std::int32_t>& prompt, const GenerateOptions& options, const OnReply& on_reply);

  LanguageModel& model_;
  ChatTemplate template_;
  GoOn go_on_;
  OnRead on_read_;
  ModelStepper stepper_;
  std::vector<std::int32_t> end_tokens_;
  std::string system_;
  std::vector<ChatMessage> messages_;
  std::size_t left_out_ = 0;        // messages
  std::vector<std::int32_t> held_;  // tokens that the stepper holds
  std::uint64_t turns_ = 0;
};

}  // namespace rapt::decoding
