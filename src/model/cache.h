/// The key-value cache of decoding: what the decoder has already computed of each sequence.
#pragma once

#include <span>
#include <vector>

#include "autograd/tape.h"
#include "core/context.h"
#include "core/ragged.h"
#include "rapt/attention.h"

namespace rapt {

/// Where the hypotheses of a DecoderCache lie. Each occupies a slot of `capacity` rows in every layer's cache.
struct CacheSlots {
  std::int32_t capacity = 0;            ///< tokens a slot can hold
  std::vector<std::int32_t> slot;       ///< of each hypothesis
  std::vector<std::int32_t> length;     ///< tokens so far of each hypothesis
  std::vector<attention::Span> memory;  ///< each hypothesis's rows of the encoder's output (key_begin, key_count)
};

/// Keys and values of one self-attention, preallocated: [slots * capacity, 2 * width].
class SelfAttentionCache {
 public:
  SelfAttentionCache(const CacheSlots& slots, std::int32_t slot_count, std::int64_t width, DType dtype)
      : slots_(&slots),
        keys_values_(Tensor::empty({static_cast<std::int64_t>(slot_count) * slots.capacity, width}, dtype)) {}

  const Tensor& keys_values() const { return keys_values_; }
  /// Writes the keys and values of new tokens (one sequence per hypothesis) behind the earlier ones, and says which
  /// rows each sequence of queries sees.
  std::vector<attention::Span> append(const Columns& keys_values, const Sequences& sequences);
  /// Copies the first `length` rows of a slot to another.
  void copy(std::int32_t from, std::int32_t to, std::int32_t length);

 private:
  const CacheSlots* slots_;
  Tensor keys_values_;
};

/// All that decoding keeps between steps.
class DecoderCache {
 public:
  /// Room for `slots` hypotheses of up to `capacity` tokens; `layers` self-attentions with `width` elements of keys and
  /// values a token. `memory`: the encoder's sequences, one per hypothesis at the start (none when decoder-only).
  DecoderCache(std::int32_t hypotheses, std::int32_t slots, std::int32_t capacity, int layers, std::int64_t width,
               DType dtype, const Sequences* memory);
  DecoderCache(const DecoderCache&) = delete;
  DecoderCache& operator=(const DecoderCache&) = delete;

  std::int32_t hypotheses() const { return static_cast<std::int32_t>(slots_.slot.size()); }
  std::int32_t capacity() const { return slots_.capacity; }
  std::int32_t length(std::int32_t hypothesis) const { return slots_.length[static_cast<std::size_t>(hypothesis)]; }
  SelfAttentionCache* layer(int index) { return &layers_[static_cast<std::size_t>(index)]; }
  /// Projected memory of each layer's cross-attention; undefined until the first step stores it.
  std::vector<Var>& projected_memory() { return projected_memory_; }
  /// The rows of memory that each sequence of queries sees.
  std::vector<attention::Span> memory_spans(const Sequences& queries) const;

  /// After every layer has appended the tokens of a step.
  void advance(const Sequences& sequences);
  /// Hypothesis i continues what hypothesis from[i] was; those that nobody continues are dropped.
  void reorder(std::span<const std::int32_t> from);

 private:
  CacheSlots slots_;
  std::int32_t slot_count_;
  std::vector<SelfAttentionCache> layers_;
  std::vector<Var> projected_memory_;
};

}  // namespace rapt
