#include "training/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "text/unicode.h"
#include "training/random_streams.h"

namespace rapt::training {
namespace {

constexpr std::pair<DocumentEnd, std::string_view> end_names[] = {{DocumentEnd::file, "file"},
                                                                  {DocumentEnd::blank_line, "blank-line"},
                                                                  {DocumentEnd::line, "line"},
                                                                  {DocumentEnd::chat, "chat"}};

constexpr double mask_share = 0.15;
constexpr double replaced_by_mask = 0.8;
constexpr double replaced_by_random = 0.1;
constexpr std::size_t most_documents_described = 8;

std::string_view without_line_ends(std::string_view text) {
  const auto begin = text.find_first_not_of("\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of("\r\n") - begin + 1);
}

/// A line of `text` from `at` on, with its end.
std::string_view line_at(std::string_view text, std::size_t at) {
  const auto end = text.find('\n', at);
  return text.substr(at, end == std::string_view::npos ? end : end + 1 - at);
}

/// Appends the pieces of a document; the first one has `first` tokens.
void cut(std::uint32_t document, std::int64_t tokens, std::int64_t first, std::int64_t length,
         std::vector<Piece>& pieces) {
  for (std::int64_t begin = 0, wanted = first; begin < tokens; begin += wanted, wanted = length)
    pieces.push_back({document, begin, std::min(wanted, tokens - begin)});
}

std::vector<std::span<const Piece>> gather(std::span<const Piece> pieces, std::int64_t tokens) {
  std::vector<std::span<const Piece>> batches;
  std::size_t begin = 0;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i > begin && sum + pieces[i].length > tokens) {
      batches.push_back(pieces.subspan(begin, i - begin));
      begin = i;
      sum = 0;
    }
    sum += pieces[i].length;
  }
  if (begin < pieces.size()) batches.push_back(pieces.subspan(begin));
  return batches;
}

std::span<const std::int32_t> tokens_of(const TokenLists& documents, const Piece& piece, std::int64_t more = 0) {
  return documents[piece.document].subspan(static_cast<std::size_t>(piece.begin),
                                           static_cast<std::size_t>(piece.length + more));
}

void append(std::vector<std::int32_t>& to, std::span<const std::int32_t> tokens) {
  to.insert(to.end(), tokens.begin(), tokens.end());
}

/// Rows of a batch whose tokens may be chosen: those of the pieces that are ordinary.
std::vector<std::int32_t> choosable_rows(const std::vector<std::int32_t>& ids, const Masking& masking) {
  std::vector<std::int32_t> rows;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (std::ranges::binary_search(masking.ordinary, ids[row])) rows.push_back(static_cast<std::int32_t>(row));
  }
  return rows;
}

std::vector<std::int32_t> choose(const std::vector<std::int32_t>& rows, RandomSequence& random) {
  std::vector<std::int32_t> chosen;
  for (const std::int32_t row : rows) {
    if (random.uniform() < mask_share) chosen.push_back(row);
  }
  if (chosen.empty() && !rows.empty()) chosen.push_back(rows[random.below(rows.size())]);
  return chosen;
}

}  // namespace

std::string_view name_of(DocumentEnd end) {
  return std::ranges::find(end_names, end, &std::pair<DocumentEnd, std::string_view>::first)->second;
}

DocumentEnd parse_document_end(std::string_view name) {
  const auto* found = std::ranges::find(end_names, name, &std::pair<DocumentEnd, std::string_view>::second);
  require(found != std::end(end_names), "--document: expected file, blank-line, line or chat, found \"{}\"", name);
  return found->first;
}

std::vector<std::string_view> split_documents(std::string_view text, DocumentEnd end) {
  std::vector<std::string_view> documents;
  const auto add = [&](std::size_t begin, std::size_t after) {
    const std::string_view document = without_line_ends(text.substr(begin, after - begin));
    if (!strip(document).empty()) documents.push_back(document);
  };
  if (end == DocumentEnd::file) {
    add(0, text.size());
    return documents;
  }
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view line = line_at(text, at);
    at += line.size();
    if (end == DocumentEnd::blank_line && !strip(line).empty()) continue;
    add(begin, at);
    begin = at;
  }
  add(begin, text.size());
  return documents;
}

HeldOutDocuments hold_out(const std::vector<std::string_view>& documents, double fraction) {
  if (documents.size() == 1) {
    const HeldOut parts = hold_out(documents.front(), fraction);
    return {.training = {parts.training}, .validation = {parts.validation}};
  }
  require(fraction > 0 && fraction < 1, "--dev-fraction is {}; it must lie between 0 and 1", fraction);
  const double wanted = std::round(fraction * static_cast<double>(documents.size()));
  const auto held_out = static_cast<std::ptrdiff_t>(std::max(wanted, 1.0));
  const auto middle = documents.end() - std::min(held_out, std::ssize(documents) - 1);
  return {.training = {documents.begin(), middle}, .validation = {middle, documents.end()}};
}

DocumentBatches::DocumentBatches(const TokenLists& documents, const Cutting& cutting, std::uint64_t seed,
                                 MakeBatch make)
    : documents_(documents), cutting_(cutting), seed_(seed), make_(std::move(make)) {
  arrange(0);
  require(!pieces_.empty(), "the text has nothing to train on: {} tokens in {} documents", documents.tokens(),
          documents.size());
}

void DocumentBatches::arrange(std::int64_t epoch) {
  if (epoch == epoch_) return;
  RandomSequence random = random_stream(seed_, RandomUse::pieces, epoch);
  pieces_.clear();
  for (std::size_t i = 0; i < documents_.size(); ++i) {
    const std::int64_t tokens = documents_.length(i) - cutting_.unread;
    const std::int64_t first =
        tokens <= cutting_.length
            ? cutting_.length
            : 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(cutting_.length)));
    cut(static_cast<std::uint32_t>(i), tokens, first, cutting_.length, pieces_);
  }
  shuffle(pieces_, random);
  batches_ = gather(pieces_, cutting_.batch_tokens);
  epoch_ = epoch;
}

std::int64_t DocumentBatches::batches(std::int64_t epoch) {
  arrange(epoch);
  return static_cast<std::int64_t>(batches_.size());
}

std::span<const Piece> DocumentBatches::pieces(const Position& position) {
  arrange(position.epoch);
  return batches_.at(static_cast<std::size_t>(position.batch));
}

Batch DocumentBatches::batch(const Position& position) {
  // An epoch has fewer batches than this.
  constexpr int batch_bits = 32;
  return make_(pieces(position),
               random_stream(seed_, RandomUse::masks, (position.epoch << batch_bits) | position.batch));
}

std::string DocumentBatches::describe(const Position& position) {
  std::vector<std::string> places;
  const auto all = pieces(position);
  for (const Piece& piece : all.first(std::min(all.size(), most_documents_described)))
    places.push_back(fmt::format("{} from token {}", piece.document + 1, piece.begin));
  const std::size_t more = all.size() - places.size();
  return fmt::format("epoch {}, batch {} (documents {}{})", position.epoch + 1, position.batch + 1,
                     fmt::join(places, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

std::vector<Batch> validation_batches(const TokenLists& documents, const Cutting& cutting, const MakeBatch& make) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < documents.size(); ++i)
    cut(static_cast<std::uint32_t>(i), documents.length(i) - cutting.unread, cutting.length, cutting.length, pieces);
  require(!pieces.empty(), "the text to validate with has only {} tokens", documents.tokens());
  std::vector<Batch> batches;
  for (const auto part : gather(pieces, cutting.batch_tokens))
    batches.push_back(make(part, random_stream(0, RandomUse::masks, std::ssize(batches))));
  return batches;
}

Batch next_token_batch(const TokenLists& documents, std::span<const Piece> pieces) {
  Batch batch;
  std::vector<std::int32_t> lengths;
  for (const Piece& piece : pieces) {
    append(batch.input.ids, tokens_of(documents, piece));
    append(batch.targets, tokens_of(documents, piece, 1).subspan(1));
    lengths.push_back(static_cast<std::int32_t>(piece.length));
  }
  batch.input.sequences = Sequences::of_lengths(lengths);
  return batch;
}

Batch masked_batch(const TokenLists& documents, std::span<const Piece> pieces, const Masking& masking,
                   RandomSequence random) {
  Batch batch;
  std::vector<std::int32_t>& ids = batch.source.ids;
  std::vector<std::int32_t> lengths;
  for (const Piece& piece : pieces) {
    append(ids, masking.before);
    append(ids, tokens_of(documents, piece));
    append(ids, masking.after);
    lengths.push_back(static_cast<std::int32_t>(masking.before.size() + masking.after.size()) +
                      static_cast<std::int32_t>(piece.length));
  }
  batch.source.sequences = Sequences::of_lengths(lengths);
  batch.predicted = choose(choosable_rows(ids, masking), random);
  if (batch.predicted.empty()) {
    // Nothing but special tokens: the first stays and is to be predicted.
    batch.predicted = {0};
    batch.targets = {ids.front()};
    return batch;
  }
  for (const std::int32_t row : batch.predicted) {
    std::int32_t& id = ids[static_cast<std::size_t>(row)];
    batch.targets.push_back(id);
    const double chance = random.uniform();
    if (chance < replaced_by_mask) {
      id = masking.mask;
    } else if (chance < replaced_by_mask + replaced_by_random) {
      id = masking.ordinary[random.below(masking.ordinary.size())];
    }
  }
  return batch;
}

}  // namespace rapt::training
