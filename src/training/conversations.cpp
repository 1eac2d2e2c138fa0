#include "training/conversations.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace rapt::training {
namespace {

constexpr std::string_view assistant = "assistant";

/// What templates that write out the date take where they are told none, so that a run can be repeated on another day.
std::tm fixed_date() {
  std::tm date{};
  date.tm_year = 124;
  date.tm_mon = 6;
  date.tm_mday = 26;
  date.tm_wday = 5;
  date.tm_yday = 207;
  return date;
}

std::int64_t common_prefix(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

OrderedJson messages_of(std::string_view line) {
  const JsonObject json = JsonObject::parse(line, "the conversation");
  require(!json.has("tools"), "the conversation has \"tools\", which rapt does not train with");
  OrderedJson messages = OrderedJson::array();
  for (const JsonObject& message : json.objects("messages"))
    messages.push_back({{"role", message.text("role")}, {"content", message.text("content")}});
  return messages;
}

}  // namespace

Conversation read_conversation(std::string_view line, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  const OrderedJson messages = messages_of(line);
  const auto text_of = [&](std::size_t count, bool asks) {
    const OrderedJson first(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(count));
    return chat_template.render({{"messages", first}, {"add_generation_prompt", asks}}, fixed_date());
  };
  const auto ids_of = [&](std::string_view text) { return tokenizer.encode(text, {.special_tokens = false}); };
  const std::string whole = text_of(messages.size(), false);
  Conversation result{.ids = ids_of(whole), .learnt = {}};
  result.learnt.resize(result.ids.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i]["role"] != assistant) continue;
    const std::string before = text_of(i, true);
    const std::string after = text_of(i + 1, false);
    require(after.starts_with(before) && whole.starts_with(after),
            "the chat template writes message {} differently once others follow it; rapt cannot tell what is to be "
            "learnt",
            i + 1);
    const std::int64_t begin = common_prefix(result.ids, ids_of(before));
    const std::int64_t end = common_prefix(result.ids, ids_of(after));
    std::fill(result.learnt.begin() + begin, result.learnt.begin() + std::max(begin, end), 1);
  }
  return result;
}

Conversations read_conversations(const Context& ctx, const std::vector<std::string_view>& lines, std::int64_t before,
                                 std::int64_t limit, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  std::vector<Conversation> read(lines.size());
  ctx.parallel_for(std::ssize(lines), [&](std::int64_t i) {
    try {
      read[static_cast<std::size_t>(i)] =
          read_conversation(lines[static_cast<std::size_t>(i)], chat_template, tokenizer);
    } catch (const Error& error) {
      fail("conversation {}: {}", before + i + 1, error.what());
    }
  });
  Conversations result;
  for (Conversation& conversation : read) {
    if (std::ssize(conversation.ids) > limit) {
      ++result.cut;
      conversation.ids.resize(static_cast<std::size_t>(limit));
      conversation.learnt.resize(static_cast<std::size_t>(limit));
    }
    // Nothing predicts the first token.
    if (std::ranges::count(conversation.learnt.begin() + (conversation.learnt.empty() ? 0 : 1),
                           conversation.learnt.end(), 1) == 0) {
      ++result.dropped;
      continue;
    }
    result.documents.add(conversation.ids);
    result.learnt.add(conversation.learnt);
  }
  return result;
}

Batch conversation_batch(const TokenLists& documents, const TokenLists& learnt, std::span<const Piece> pieces) {
  Batch batch = next_token_batch(documents, pieces);
  const std::vector<std::int32_t> all = std::move(batch.targets);
  batch.targets.clear();
  std::int32_t row = 0;
  for (const Piece& piece : pieces) {
    const auto flags = learnt[piece.document].subspan(static_cast<std::size_t>(piece.begin) + 1,
                                                      static_cast<std::size_t>(piece.length));
    for (const std::int32_t flag : flags) {
      if (flag != 0) {
        batch.predicted.push_back(row);
        batch.targets.push_back(all[static_cast<std::size_t>(row)]);
      }
      ++row;
    }
  }
  return batch;
}

}  // namespace rapt::training
