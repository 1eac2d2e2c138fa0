/// Conversations to learn from: what the assistant says in them, given what came before.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "training/corpus.h"
#include "training/documents.h"

namespace rapt::training {

/// A conversation as its model reads it.
struct Conversation {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> learnt;  ///< of each token: 1 where the assistant says it, else 0
};

/// `line` is a JSON object whose "messages" are a list of objects with "role" and "content"; its other keys are passed
/// over. The template writes the conversation out; an answer is what it adds for a message of the "assistant" to what
/// it writes to ask for one. Throws Error for a line of another kind, and for a template that rewrites what it wrote
/// before a message came.
Conversation read_conversation(std::string_view line, const ChatTemplate& chat_template, const Tokenizer& tokenizer);

/// Conversations one after the other, cut after `limit` tokens.
struct Conversations {
  TokenLists documents;
  TokenLists learnt;
  std::int64_t cut = 0;      ///< were longer than the limit
  std::int64_t dropped = 0;  ///< had nothing to learn within it
};
/// Throws Error naming the number of the conversation, from 1, in the file that has `before` of them before `lines`.
Conversations read_conversations(const Context& ctx, const std::vector<std::string_view>& lines, std::int64_t before,
                                 std::int64_t limit, const ChatTemplate& chat_template, const Tokenizer& tokenizer);

/// Next tokens of which those that are `learnt` are predicted.
Batch conversation_batch(const TokenLists& documents, const TokenLists& learnt, std::span<const Piece> pieces);

}  // namespace rapt::training
