#include "decoding/conversation.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "decoding/cache_memory.h"
#include "text/utf8.h"

namespace rapt::decoding {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Ends the reading of a prompt.
struct Interruption {};

std::int32_t context_of(const LanguageModel& language_model, std::int32_t wanted) {
  const Transformer& model = language_model.model();
  const std::int64_t positions = model.config().max_positions;
  require(wanted >= 0, "the context of {} tokens: expected at least 1", wanted);
  require(wanted <= positions || !model.config().limited_positions(), "the context of {} tokens: the model has {}",
          wanted, positions);
  const std::optional<std::uint64_t> free = language_model.memory_for_cache();
  if (wanted == 0)
    wanted = tokens_with_room(model, static_cast<std::int32_t>(positions), language_model.cache_type(), free);
  require_room(model, {.tokens = wanted, .dtype = language_model.cache_type()}, free);
  return wanted;
}

std::tm now() {
  const std::time_t time = std::time(nullptr);
  std::tm result{};
  localtime_r(&time, &result);
  return result;
}

}  // namespace

Conversation::Conversation(LanguageModel& model, ChatTemplate chat_template, std::int32_t context)
    : model_(model),
      template_(std::move(chat_template)),
      stepper_(model.context(), model.model(),
               {.capacity = context_of(model, context),
                .before_chunk =
                    [this](std::int64_t done, std::int64_t all) {
                      if (go_on_ && !go_on_()) throw Interruption();
                      if (on_read_) on_read_(done, all);
                    },
                .cache = model.cache_type()}),
      end_tokens_(model.end_tokens()) {
  find_end_of_turn();
}

/// A token that the template writes behind answers ends them, whether or not another file of the model says so.
void Conversation::find_end_of_turn() {
  const std::string answer = "an answer";
  std::string text;
  try {
    text = rendered(std::vector<ChatMessage>{{"user", "a question"}, {"assistant", answer}}, false);
  } catch (const Error&) {
    return;  // a template that refuses this may still take what a person says
  }
  const std::size_t place = text.rfind(answer);
  if (place == std::string::npos) return;
  const auto behind = model_.tokenizer().encode(text.substr(place + answer.size()), {.special_tokens = false});
  const bool special = !behind.empty() && model_.tokenizer().decode(std::span(behind).first(1)).empty();
  if (special && behind[0] < model_.model().config().vocab) end_tokens_.push_back(behind[0]);
}

std::string Conversation::rendered(std::span<const ChatMessage> messages, bool answer) const {
  OrderedJson list = OrderedJson::array();
  if (!system_.empty()) list.push_back({{"role", "system"}, {"content", system_}});
  for (const ChatMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return template_.render({{"messages", std::move(list)}, {"add_generation_prompt", answer}}, now());
}

std::vector<std::int32_t> Conversation::tokens() const {
  return model_.tokenizer().encode(rendered(std::span(messages_).subspan(left_out_), true), {.special_tokens = false});
}

/// The conversation, or as much of it as leaves room for an answer.
std::vector<std::int32_t> Conversation::fitting_tokens(const GenerateOptions& options) {
  const std::int64_t room_for_answer = std::min(options.max_tokens, context() / 4);
  std::vector<std::int32_t> result = tokens();
  if (std::ssize(result) + room_for_answer <= context()) return result;
  // Half at once, because what follows a turn that is left out has to be read again.
  while (std::ssize(result) > context() / 2 && left_out_ + 2 < messages_.size()) {
    left_out_ += 2;
    result = tokens();
  }
  require(std::ssize(result) < context(),
          "the message has {} tokens with all that goes with it, and the context has room for {}; make it shorter",
          result.size(), context());
  return result;
}

Reply Conversation::send(const std::string& message, const GenerateOptions& options, const OnReply& on_reply,
                         const GoOn& go_on, const OnRead& on_read) {
  require_utf8(message, "the message");
  const std::size_t left_out = left_out_;
  messages_.push_back({"user", message});
  go_on_ = go_on;
  on_read_ = on_read;
  Reply reply;
  try {
    const std::vector<std::int32_t> prompt = fitting_tokens(options);
    require(!prompt.empty(), "the chat template writes nothing for this message");
    reply = write(prompt, options, on_reply);
  } catch (...) {
    messages_.pop_back();
    left_out_ = left_out;
    throw;
  }
  reply.messages_left_out = static_cast<std::int64_t>(left_out_ - left_out);
  if (reply.finish == FinishReason::cancelled && reply.text.empty()) {
    messages_.pop_back();
  } else {
    messages_.push_back({"assistant", reply.text});
  }
  ++turns_;
  return reply;
}

/// Forgets what the model knows beyond the beginning that the prompt shares with it; at least one token is left to
/// read.
void Conversation::keep_common(std::span<const std::int32_t> prompt) {
  const auto common = std::ranges::mismatch(held_, prompt.first(prompt.size() - 1)).in1 - held_.begin();
  stepper_.shorten(0, static_cast<std::int32_t>(common));
  held_.resize(static_cast<std::size_t>(stepper_.length(0)));
}

Reply Conversation::write(const std::vector<std::int32_t>& prompt, const GenerateOptions& options,
                          const OnReply& on_reply) {
  keep_common(prompt);
  Reply reply{.prompt_tokens = std::ssize(prompt), .tokens_read = std::ssize(prompt) - std::ssize(held_)};
  GenerationOptions generation;
  generation.sampling = model_.sampling(options);
  generation.stop = end_tokens_;
  generation.max_tokens = options.max_tokens;
  generation.streams = {options.stream + turns_};

  Continuation continuation(model_.tokenizer(), prompt);
  const auto show = [&](const std::string& more) {
    reply.text += more;
    if (on_reply && !more.empty()) on_reply(more);
  };
  std::vector<std::int32_t> text = prompt;
  const Clock::time_point start = Clock::now();
  Clock::time_point first = start;
  const auto on_token = [&](std::int32_t /*text*/, std::int32_t token) {
    if (reply.tokens_written++ == 0) first = Clock::now();
    text.push_back(token);
    show(continuation.add(token));
    return !go_on_ || go_on_();
  };
  const auto remember = [&] {
    held_.assign(text.begin(), text.begin() + std::min<std::ptrdiff_t>(stepper_.length(0), std::ssize(text)));
  };
  try {
    const Generation written =
        generate(model_.context(), stepper_, RaggedTokens::of(std::span(&prompt, 1)), generation, on_token)[0];
    reply.finish = written.finish == Finish::stop              ? FinishReason::end
                   : written.finish == Finish::cancelled       ? FinishReason::cancelled
                   : reply.tokens_written < options.max_tokens ? FinishReason::context
                                                               : FinishReason::length;
  } catch (const Interruption&) {
    reply.finish = FinishReason::cancelled;
  } catch (...) {
    remember();
    throw;
  }
  remember();
  show(continuation.finish());
  const Clock::time_point end = Clock::now();
  if (reply.tokens_written == 0) first = end;
  reply.seconds_to_read = seconds_between(start, first);
  reply.seconds_to_write = seconds_between(first, end);
  return reply;
}

bool Conversation::undo() {
  if (messages_.empty()) return false;
  messages_.resize(messages_.size() - 2);
  left_out_ = std::min(left_out_, messages_.size());
  return true;
}

void Conversation::clear() {
  messages_.clear();
  left_out_ = 0;
}

}  // namespace rapt::decoding
