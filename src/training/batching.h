/// Batches: which sequences a training step sees. A batch is a function of the corpus, the seed and its position, so a
/// position is all that a checkpoint needs to remember.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "training/corpus.h"

namespace rapt::training {

struct BatchOptions {
  std::int64_t tokens = 4096;     ///< of a batch of pairs: neither its sources nor its targets together exceed it
  std::int64_t max_length = 256;  ///< of a sentence, its end included; longer ones are not trained on
  std::int64_t context = 64;      ///< of a language model's window
  std::int64_t sequences = 12;    ///< windows in a language model's batch
};

/// Throws Error, naming the option, for numbers that make no batches.
void check(const BatchOptions& options);

/// A place in the endless sequence of batches.
struct Position {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;
  bool operator==(const Position&) const = default;
};

/// An endless supply of batches.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  BatchSource() = default;
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;

  /// Number of batches of an epoch, at least 1.
  virtual std::int64_t batches(std::int64_t epoch) = 0;
  virtual Batch batch(const Position& position) = 0;
  /// Where a batch comes from, for messages: "epoch 2, batch 17 (lines 4, 8 and 11)".
  virtual std::string describe(const Position& position) = 0;

  Position after(const Position& position);
};

/// Pairs of sentences. Every epoch takes each pair once: the pairs are shuffled, sorted by length (stably, so that
/// pairs of equal length stay shuffled), cut into batches as large as BatchOptions::tokens allows, and the batches
/// shuffled.
class PairBatches final : public BatchSource {
 public:
  /// Keeps a reference to `corpus`. Throws Error when there is no pair in it.
  PairBatches(const ParallelTokens& corpus, const BatchOptions& options, std::int32_t decoder_start,
              std::uint64_t seed);

  std::int64_t batches(std::int64_t epoch) override;
  Batch batch(const Position& position) override;
  std::string describe(const Position& position) override;

  /// The pairs of a batch, as indexes into the corpus.
  std::span<const std::uint32_t> pairs(const Position& position);

 private:
  void arrange(std::int64_t epoch);

  const ParallelTokens& corpus_;
  BatchOptions options_;
  std::int32_t decoder_start_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1;
  std::vector<std::uint32_t> order_;
  std::vector<std::span<const std::uint32_t>> batches_;
};

/// Windows of `context` tokens at random places of a text, as nanoGPT draws them; an epoch is as many batches as the
/// text would fill.
class WindowBatches final : public BatchSource {
 public:
  /// Keeps a reference to `text`. Throws Error when it is shorter than a window and one more token.
  WindowBatches(std::span<const std::int32_t> text, const BatchOptions& options, std::uint64_t seed);

  std::int64_t batches(std::int64_t epoch) override;
  Batch batch(const Position& position) override;
  std::string describe(const Position& position) override;

 private:
  std::vector<std::int64_t> starts(const Position& position);

  std::span<const std::int32_t> text_;
  BatchOptions options_;
  std::uint64_t seed_;
};

/// The batch of these pairs: [source eos], [decoder_start target], [target eos].
Batch make_batch(const ParallelTokens& corpus, std::span<const std::uint32_t> pairs, std::int32_t decoder_start);

/// All pairs once, in the order of the corpus, in batches of at most `tokens` tokens (or one pair), for validation.
std::vector<Batch> validation_batches(const ParallelTokens& corpus, std::int64_t tokens, std::int32_t decoder_start);

/// The whole text once, in consecutive windows of `context` tokens, `sequences` a batch; each token but the first is
/// predicted once.
std::vector<Batch> validation_batches(std::span<const std::int32_t> text, const BatchOptions& options);

}  // namespace rapt::training
