/// Documents: texts that have nothing to do with each other, cut into pieces that a model reads at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "training/batching.h"
#include "training/corpus.h"

namespace rapt::training {

/// What ends a document in a text file.
enum class DocumentEnd {
  file,        ///< the end of the file
  blank_line,  ///< one or more empty lines
  line,        ///< the end of every line
  chat,        ///< likewise, and every line is a conversation: training/conversations.h
};
/// "file", "blank-line", "line" or "chat".
std::string_view name_of(DocumentEnd end);
/// Throws Error that lists the names when there is none of this one.
DocumentEnd parse_document_end(std::string_view name);

/// The documents of a text that are not blank, without the line ends around them. Views into `text`.
std::vector<std::string_view> split_documents(std::string_view text, DocumentEnd end);

/// The first documents, and as many of the last as make up `fraction` of them, one at least; of a single document, the
/// parts that hold_out() gives. Throws Error when nothing is left to train on.
struct HeldOutDocuments {
  std::vector<std::string_view> training;
  std::vector<std::string_view> validation;
};
HeldOutDocuments hold_out(const std::vector<std::string_view>& documents, double fraction);

/// Tokens [begin, begin + length) of a document.
struct Piece {
  std::uint32_t document = 0;
  std::int64_t begin = 0;
  std::int64_t length = 0;
};

/// How documents become pieces, and pieces batches.
struct Cutting {
  std::int64_t length = 256;         ///< most tokens of a piece
  std::int64_t batch_tokens = 2048;  ///< most tokens of a batch, or one piece
  std::int64_t unread =
      0;  ///< tokens at the end of a document that no piece reads: 1 where each token predicts the next
};

/// Makes a batch of pieces. What is left to chance comes from `random`.
using MakeBatch = std::function<Batch(std::span<const Piece> pieces, RandomSequence random)>;

/// Documents in pieces, each a sequence of its own: no token attends to another document, and positions count from the
/// beginning of the piece. Every epoch reads every token once. A document that is longer than a piece is cut at places
/// that differ from epoch to epoch; the pieces are shuffled.
class DocumentBatches final : public BatchSource {
 public:
  /// Keeps a reference to `documents`. Throws Error when there is nothing to read in them.
  DocumentBatches(const TokenLists& documents, const Cutting& cutting, std::uint64_t seed, MakeBatch make);

  std::int64_t batches(std::int64_t epoch) override;
  Batch batch(const Position& position) override;
  std::string describe(const Position& position) override;

  std::span<const Piece> pieces(const Position& position);

 private:
  void arrange(std::int64_t epoch);

  const TokenLists& documents_;
  Cutting cutting_;
  std::uint64_t seed_;
  MakeBatch make_;
  std::int64_t epoch_ = -1;
  std::vector<Piece> pieces_;
  std::vector<std::span<const Piece>> batches_;
};

/// All documents once, in order, for validation: the same batches each time, chance included.
std::vector<Batch> validation_batches(const TokenLists& documents, const Cutting& cutting, const MakeBatch& make);

/// Each token is to predict the one behind it.
Batch next_token_batch(const TokenLists& documents, std::span<const Piece> pieces);

/// Masked language modelling (Devlin et al. 2019, 3.1): of the ordinary tokens each is chosen with a probability of
/// 15 %; of these, 80 % are replaced by the mask, 10 % by a random ordinary token and 10 % stay. The chosen ones are to
/// be predicted, at least one a batch.
struct Masking {
  std::int32_t mask = 0;
  std::vector<std::int32_t> ordinary;     ///< ids that are neither special nor unused, ascending
  std::vector<std::int32_t> before = {};  ///< special tokens that the model expects around a text
  std::vector<std::int32_t> after = {};
};
/// The pieces with special tokens around each.
Batch masked_batch(const TokenLists& documents, std::span<const Piece> pieces, const Masking& masking,
                   RandomSequence random);

}  // namespace rapt::training
