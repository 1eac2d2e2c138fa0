/// The key-value cache of decoding: what the decoder has already computed of each sequence.
#pragma once

#include <span>
#include <vector>

#include "autograd/tape.h"
#include "core/context.h"
#include "core/ragged.h"
#include "rapt/attention.h"

namespace rapt {

/// Where the hypotheses of a DecoderCache lie. Each occupies a slot of `rows` rows in every layer's cache.
struct CacheSlots {
  std::int32_t rows = 0;                ///< tokens a slot has room for; grows with the longest hypothesis
  std::vector<std::int32_t> slot;       ///< of each hypothesis
  std::vector<std::int32_t> length;     ///< tokens so far of each hypothesis
  std::vector<attention::Span> memory;  ///< each hypothesis's rows of the encoder's output (key_begin, key_count)
};

/// What one self-attention keeps: keys and values, [slots * rows, width], for softmax; a state for a linear form.
/// Each is allocated when it is first asked for.
class SelfAttentionCache {
 public:
  SelfAttentionCache(const CacheSlots& slots, std::int32_t slot_count, std::int64_t width, DType dtype)
      : slots_(&slots), slot_count_(slot_count), width_(width), dtype_(dtype) {}

  DType dtype() const { return dtype_; }
  const Tensor& keys_values() const { return keys_values_; }
  /// Writes the keys and values of new tokens (of type dtype(), one sequence per hypothesis) behind the earlier ones,
  /// and says which rows each sequence of queries sees.
  std::vector<attention::Span> append(const Columns& keys_values, const Sequences& sequences);
  /// The states of the hypotheses, [hypotheses, size] in f64 or f32, before new tokens of which each has so many: to be
  /// replaced by those after them.
  Tensor states(const Sequences& sequences, std::int64_t size, DType dtype);
  /// Copies the first `length` rows of a slot to another.
  void copy(std::int32_t from, std::int32_t to, std::int32_t length);
  /// Hypothesis i goes on with the state of from[i].
  void reorder_states(std::span<const std::int32_t> from);
  bool has_states() const { return states_.defined(); }
  /// A hypothesis begins anew.
  void clear_state(std::int32_t hypothesis);
  /// Moves what the hypotheses have to slots of more rows, where they had `rows`.
  void grow(std::int32_t rows);

 private:
  const CacheSlots* slots_;
  std::int32_t slot_count_;
  std::int64_t width_;
  DType dtype_;
  Tensor keys_values_;
  Tensor states_;  ///< [slots, size], of which the first rows are the hypotheses
  Tensor other_states_;
};

/// All that decoding keeps between steps.
class DecoderCache {
 public:
  /// Room for `slots` hypotheses of up to `capacity` tokens, of which memory is taken as they grow; `layers`
  /// self-attentions with `width` elements of keys and values a token. `memory`: the encoder's sequences, one per
  /// hypothesis at the start (none when decoder-only).
  DecoderCache(std::int32_t hypotheses, std::int32_t slots, std::int32_t capacity, int layers, std::int64_t width,
               DType dtype, const Sequences* memory);
  DecoderCache(const DecoderCache&) = delete;
  DecoderCache& operator=(const DecoderCache&) = delete;

  std::int32_t hypotheses() const { return static_cast<std::int32_t>(slots_.slot.size()); }
  std::int32_t capacity() const { return capacity_; }
  std::int32_t length(std::int32_t hypothesis) const { return slots_.length[static_cast<std::size_t>(hypothesis)]; }
  SelfAttentionCache* layer(int index) { return &layers_[static_cast<std::size_t>(index)]; }
  /// Projected memory of each layer's cross-attention; undefined until the first step stores it.
  std::vector<Var>& projected_memory() { return projected_memory_; }
  /// The rows of memory that each sequence of queries sees.
  std::vector<attention::Span> memory_spans(const Sequences& queries) const;

  /// Before the first layer appends the tokens of a step. Throws Error unless there is a sequence for each hypothesis,
  /// and room for it.
  void make_room(const Sequences& sequences);
  /// After every layer has appended the tokens of a step.
  void advance(const Sequences& sequences);
  /// Hypothesis i continues what hypothesis from[i] was; those that nobody continues are dropped.
  void reorder(std::span<const std::int32_t> from);
  /// Forgets what a hypothesis has behind its first `length` tokens; where a linear layer's state cannot go back, all
  /// of it. Does nothing to one that is not longer.
  void shorten(std::int32_t hypothesis, std::int32_t length);

 private:
  CacheSlots slots_;
  std::int32_t capacity_;
  std::int32_t slot_count_;
  std::vector<SelfAttentionCache> layers_;
  std::vector<Var> projected_memory_;
};

}  // namespace rapt
