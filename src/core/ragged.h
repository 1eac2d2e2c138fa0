/// Ragged batches: sequences laid end to end, never padded.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/error.h"

namespace rapt {

/// Where each sequence of a batch begins: offsets [sequences + 1], offsets[0] = 0. Immutable and cheap to copy.
class Sequences {
 public:
  Sequences() : Sequences(std::vector<std::int32_t>{0}) {}
  explicit Sequences(std::vector<std::int32_t> offsets)
      : offsets_(std::make_shared<const std::vector<std::int32_t>>(std::move(offsets))) {
    require(!offsets_->empty() && offsets_->front() == 0, "offsets of a ragged batch begin with 0");
  }
  static Sequences of_lengths(std::span<const std::int32_t> lengths) {
    std::vector<std::int32_t> offsets{0};
    for (const std::int32_t length : lengths) offsets.push_back(offsets.back() + length);
    return Sequences(std::move(offsets));
  }

  std::int32_t count() const { return static_cast<std::int32_t>(offsets_->size()) - 1; }
  std::int32_t tokens() const { return offsets_->back(); }
  std::int32_t begin(std::int32_t sequence) const { return (*offsets_)[static_cast<std::size_t>(sequence)]; }
  std::int32_t length(std::int32_t sequence) const { return begin(sequence + 1) - begin(sequence); }
  std::span<const std::int32_t> offsets() const { return *offsets_; }

 private:
  std::shared_ptr<const std::vector<std::int32_t>> offsets_;
};

/// Token ids of a batch of sequences, laid end to end.
struct RaggedTokens {
  std::vector<std::int32_t> ids;
  Sequences sequences;

  /// Lays the given sequences end to end.
  static RaggedTokens of(std::span<const std::vector<std::int32_t>> lists) {
    RaggedTokens result;
    std::vector<std::int32_t> offsets{0};
    for (const auto& list : lists) {
      result.ids.insert(result.ids.end(), list.begin(), list.end());
      offsets.push_back(static_cast<std::int32_t>(result.ids.size()));
    }
    result.sequences = Sequences(std::move(offsets));
    return result;
  }
};

}  // namespace rapt
