#include "training/batching.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "training/random_streams.h"

namespace rapt::training {
namespace {

/// Cuts `order` into runs of which neither the sources nor the targets exceed `tokens`; a pair that does so alone makes
/// a run of its own.
std::vector<std::span<const std::uint32_t>> cut(const ParallelTokens& corpus, std::span<const std::uint32_t> order,
                                                std::int64_t tokens) {
  std::vector<std::span<const std::uint32_t>> runs;
  std::size_t begin = 0;
  std::int64_t source = 0;
  std::int64_t target = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int64_t more_source = corpus.source.length(order[i]);
    const std::int64_t more_target = corpus.target.length(order[i]);
    if (i > begin && std::max(source + more_source, target + more_target) > tokens) {
      runs.push_back(order.subspan(begin, i - begin));
      begin = i;
      source = target = 0;
    }
    source += more_source;
    target += more_target;
  }
  if (begin < order.size()) runs.push_back(order.subspan(begin));
  return runs;
}

/// "4, 8 and 11", of at most `limit` numbers.
std::string list(std::vector<std::int64_t> numbers, std::size_t limit = 12) {
  std::ranges::sort(numbers);
  const std::size_t more = numbers.size() - std::min(numbers.size(), limit);
  numbers.resize(numbers.size() - more);
  std::string text = fmt::format("{}", fmt::join(numbers, ", "));
  return more > 0 ? fmt::format("{} and {} more", text, more) : text;
}

/// Windows [start, start + length) of a text: what is read, and, one further on, what is to be said.
class WindowBatchBuilder {
 public:
  explicit WindowBatchBuilder(std::span<const std::int32_t> text) : text_(text) {}

  void add(std::int64_t start, std::int64_t length) {
    const auto window = text_.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(length) + 1);
    batch_.input.ids.insert(batch_.input.ids.end(), window.begin(), window.end() - 1);
    batch_.targets.insert(batch_.targets.end(), window.begin() + 1, window.end());
    lengths_.push_back(static_cast<std::int32_t>(length));
  }
  Batch finish() {
    batch_.input.sequences = Sequences::of_lengths(lengths_);
    return std::move(batch_);
  }

 private:
  std::span<const std::int32_t> text_;
  Batch batch_;
  std::vector<std::int32_t> lengths_;
};

}  // namespace

void check(const BatchOptions& options) {
  require(options.tokens >= 1, "--batch-tokens is {}; it must be at least 1", options.tokens);
  require(options.max_length >= 2, "--max-length is {}; a sentence of one token and its end need 2",
          options.max_length);
  require(options.max_length <= options.tokens, "--max-length {} is more than --batch-tokens {}; lower the first",
          options.max_length, options.tokens);
  require(options.context >= 1, "--context is {}; it must be at least 1", options.context);
  require(options.sequences >= 1, "--sequences is {}; it must be at least 1", options.sequences);
}

Position BatchSource::after(const Position& position) {
  if (position.batch + 1 < batches(position.epoch)) return {position.epoch, position.batch + 1};
  return {position.epoch + 1, 0};
}

PairBatches::PairBatches(const ParallelTokens& corpus, const BatchOptions& options, std::int32_t decoder_start,
                         std::uint64_t seed)
    : corpus_(corpus), options_(options), decoder_start_(decoder_start), seed_(seed) {
  require(corpus.size() > 0, "the corpus has no pair of sentences to train on");
}

void PairBatches::arrange(std::int64_t epoch) {
  if (epoch == epoch_) return;
  order_.resize(corpus_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  RandomSequence random = random_stream(seed_, RandomUse::pair_order, epoch);
  shuffle(order_, random);
  std::ranges::stable_sort(order_, {}, [&](std::uint32_t pair) {
    return std::tuple(corpus_.target.length(pair), corpus_.source.length(pair));
  });
  batches_ = cut(corpus_, order_, options_.tokens);
  shuffle(batches_, random);
  epoch_ = epoch;
}

std::int64_t PairBatches::batches(std::int64_t epoch) {
  arrange(epoch);
  return static_cast<std::int64_t>(batches_.size());
}

std::span<const std::uint32_t> PairBatches::pairs(const Position& position) {
  arrange(position.epoch);
  return batches_.at(static_cast<std::size_t>(position.batch));
}

Batch PairBatches::batch(const Position& position) {
  return make_batch(corpus_, pairs(position), decoder_start_);
}

std::string PairBatches::describe(const Position& position) {
  std::vector<std::int64_t> lines;
  for (const std::uint32_t pair : pairs(position)) lines.push_back(corpus_.lines[pair]);
  return fmt::format("epoch {}, batch {} (lines {})", position.epoch + 1, position.batch + 1, list(std::move(lines)));
}

WindowBatches::WindowBatches(std::span<const std::int32_t> text, const BatchOptions& options, std::uint64_t seed)
    : text_(text), options_(options), seed_(seed) {
  require(static_cast<std::int64_t>(text.size()) > options.context,
          "the text has {} tokens, --context {} needs at least {}; give more text or lower --context", text.size(),
          options.context, options.context + 1);
}

std::int64_t WindowBatches::batches(std::int64_t /*epoch*/) {
  const std::int64_t tokens = options_.context * options_.sequences;
  return std::max<std::int64_t>(static_cast<std::int64_t>(text_.size()) / tokens, 1);
}

std::vector<std::int64_t> WindowBatches::starts(const Position& position) {
  RandomSequence random =
      random_stream(seed_, RandomUse::windows, position.epoch * batches(position.epoch) + position.batch);
  std::vector<std::int64_t> result(static_cast<std::size_t>(options_.sequences));
  const auto places = text_.size() - static_cast<std::size_t>(options_.context);
  for (std::int64_t& start : result) start = static_cast<std::int64_t>(random.below(places));
  return result;
}

Batch WindowBatches::batch(const Position& position) {
  WindowBatchBuilder builder(text_);
  for (const std::int64_t start : starts(position)) builder.add(start, options_.context);
  return builder.finish();
}

std::string WindowBatches::describe(const Position& position) {
  return fmt::format("epoch {}, batch {} (windows at tokens {})", position.epoch + 1, position.batch + 1,
                     list(starts(position)));
}

Batch make_batch(const ParallelTokens& corpus, std::span<const std::uint32_t> pairs, std::int32_t decoder_start) {
  Batch batch;
  std::vector<std::int32_t> source_lengths;
  std::vector<std::int32_t> target_lengths;
  for (const std::uint32_t pair : pairs) {
    const auto source = corpus.source[pair];
    const auto target = corpus.target[pair];
    batch.source.ids.insert(batch.source.ids.end(), source.begin(), source.end());
    batch.input.ids.push_back(decoder_start);
    batch.input.ids.insert(batch.input.ids.end(), target.begin(), target.end() - 1);
    batch.targets.insert(batch.targets.end(), target.begin(), target.end());
    source_lengths.push_back(static_cast<std::int32_t>(source.size()));
    target_lengths.push_back(static_cast<std::int32_t>(target.size()));
  }
  batch.source.sequences = Sequences::of_lengths(source_lengths);
  batch.input.sequences = Sequences::of_lengths(target_lengths);
  return batch;
}

std::vector<Batch> validation_batches(const ParallelTokens& corpus, std::int64_t tokens, std::int32_t decoder_start) {
  std::vector<std::uint32_t> order(corpus.size());
  std::iota(order.begin(), order.end(), 0u);
  std::vector<Batch> result;
  for (const auto pairs : cut(corpus, order, tokens)) result.push_back(make_batch(corpus, pairs, decoder_start));
  return result;
}

std::vector<Batch> validation_batches(std::span<const std::int32_t> text, const BatchOptions& options) {
  require(text.size() >= 2, "the text to validate with has {} tokens; it needs at least 2", text.size());
  std::vector<Batch> result;
  const std::int64_t predicted = static_cast<std::int64_t>(text.size()) - 1;
  const std::int64_t tokens = options.context * options.sequences;
  for (std::int64_t begin = 0; begin < predicted; begin += tokens) {
    WindowBatchBuilder builder(text);
    const std::int64_t end = std::min(begin + tokens, predicted);
    for (std::int64_t at = begin; at < end; at += options.context) builder.add(at, std::min(options.context, end - at));
    result.push_back(builder.finish());
  }
  return result;
}

}  // namespace rapt::training
