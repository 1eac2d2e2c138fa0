#include "model/cache.h"

#include <algorithm>
#include <cstring>

namespace rapt {

std::vector<attention::Span> SelfAttentionCache::append(const Columns& keys_values, const Sequences& sequences) {
  if (!keys_values_.defined()) {
    keys_values_ = Tensor::empty({static_cast<std::int64_t>(slot_count_) * slots_->rows, width_}, dtype_);
  }
  const auto row_bytes = static_cast<std::size_t>(keys_values_.dim(1)) * size_of(keys_values_.dtype());
  auto* rows = static_cast<std::byte*>(keys_values_.raw_write());
  std::vector<attention::Span> spans;
  for (std::int32_t i = 0; i < sequences.count(); ++i) {
    const auto hypothesis = static_cast<std::size_t>(i);
    const std::int32_t first = slots_->slot[hypothesis] * slots_->rows;
    const std::int32_t length = slots_->length[hypothesis];
    const std::int32_t added = sequences.length(i);
    for (std::int32_t t = 0; t < added; ++t) {
      std::memcpy(rows + static_cast<std::size_t>(first + length + t) * row_bytes,
                  keys_values.row(sequences.begin(i) + t), row_bytes);
    }
    spans.push_back({sequences.begin(i), added, first, length + added});
  }
  return spans;
}

void SelfAttentionCache::grow(std::int32_t rows) {
  if (!keys_values_.defined()) return;
  const Tensor grown = Tensor::empty({static_cast<std::int64_t>(slot_count_) * slots_->rows, width_}, dtype_);
  const std::size_t row_bytes = static_cast<std::size_t>(width_) * size_of(dtype_);
  const auto* from = static_cast<const std::byte*>(keys_values_.raw());
  auto* to = static_cast<std::byte*>(grown.raw_write());
  for (std::size_t i = 0; i < slots_->slot.size(); ++i) {
    const auto slot = static_cast<std::size_t>(slots_->slot[i]);
    std::memcpy(to + slot * static_cast<std::size_t>(slots_->rows) * row_bytes,
                from + slot * static_cast<std::size_t>(rows) * row_bytes,
                static_cast<std::size_t>(slots_->length[i]) * row_bytes);
  }
  keys_values_ = grown;
}

Tensor SelfAttentionCache::states(const Sequences& sequences, std::int64_t size, DType dtype) {
  if (!states_.defined()) states_ = Tensor::zeros({slot_count_, size}, dtype == DType::f64 ? DType::f64 : DType::f32);
  return states_.rows(0, sequences.count());
}

void SelfAttentionCache::reorder_states(std::span<const std::int32_t> from) {
  const auto keeps_place = [&](const std::int32_t& parent) { return parent == &parent - from.data(); };
  if (!states_.defined() || std::ranges::all_of(from, keeps_place)) return;
  if (!other_states_.defined()) other_states_ = Tensor::empty(states_.shape(), states_.dtype());
  const std::size_t row_bytes = states_.bytes() / static_cast<std::size_t>(slot_count_);
  const auto* rows = static_cast<const std::byte*>(states_.raw());
  auto* to = static_cast<std::byte*>(other_states_.raw_write());
  for (const std::int32_t hypothesis : from) {
    std::memcpy(to, rows + static_cast<std::size_t>(hypothesis) * row_bytes, row_bytes);
    to += row_bytes;
  }
  std::swap(states_, other_states_);
}

void SelfAttentionCache::clear_state(std::int32_t hypothesis) {
  const Tensor state = states_.rows(hypothesis, hypothesis + 1);
  std::memset(state.raw_write(), 0, state.bytes());
}

void SelfAttentionCache::copy(std::int32_t from, std::int32_t to, std::int32_t length) {
  if (!keys_values_.defined()) return;
  const auto row_bytes = static_cast<std::size_t>(keys_values_.dim(1)) * size_of(keys_values_.dtype());
  auto* rows = static_cast<std::byte*>(keys_values_.raw_write());
  const auto slot_bytes = static_cast<std::size_t>(slots_->rows) * row_bytes;
  std::memcpy(rows + static_cast<std::size_t>(to) * slot_bytes, rows + static_cast<std::size_t>(from) * slot_bytes,
              static_cast<std::size_t>(length) * row_bytes);
}

DecoderCache::DecoderCache(std::int32_t hypotheses, std::int32_t slots, std::int32_t capacity, int layers,
                           std::int64_t width, DType dtype, const Sequences* memory)
    : capacity_(capacity), slot_count_(slots) {
  require(hypotheses <= slots, "{} hypotheses do not fit {} slots", hypotheses, slots);
  require(memory == nullptr || memory->count() == hypotheses, "every hypothesis needs a source sequence");
  for (std::int32_t i = 0; i < hypotheses; ++i) {
    slots_.slot.push_back(i);
    slots_.length.push_back(0);
    if (memory != nullptr) slots_.memory.push_back({0, 0, memory->begin(i), memory->length(i)});
  }
  for (int i = 0; i < layers; ++i) layers_.emplace_back(slots_, slots, width, dtype);
}

std::vector<attention::Span> DecoderCache::memory_spans(const Sequences& queries) const {
  std::vector<attention::Span> spans = slots_.memory;
  for (std::int32_t i = 0; i < queries.count() && !spans.empty(); ++i) {
    spans[static_cast<std::size_t>(i)].query_begin = queries.begin(i);
    spans[static_cast<std::size_t>(i)].query_count = queries.length(i);
  }
  return spans;
}

void DecoderCache::make_room(const Sequences& sequences) {
  require(sequences.count() == hypotheses(), "{} sequences for {} hypotheses", sequences.count(), hypotheses());
  std::int32_t longest = 0;
  for (std::int32_t i = 0; i < sequences.count(); ++i) longest = std::max(longest, length(i) + sequences.length(i));
  require(longest <= capacity_, "a sequence of {} tokens does not fit the cache of {}", longest, capacity_);
  if (longest <= slots_.rows) return;
  constexpr std::int32_t few = 64;
  const std::int32_t before = slots_.rows;
  slots_.rows = std::min(capacity_, std::max(few, longest + longest / 2));
  for (SelfAttentionCache& layer : layers_) layer.grow(before);
}

void DecoderCache::advance(const Sequences& sequences) {
  for (std::int32_t i = 0; i < sequences.count(); ++i)
    slots_.length[static_cast<std::size_t>(i)] += sequences.length(i);
}

void DecoderCache::reorder(std::span<const std::int32_t> from) {
  require(from.size() <= static_cast<std::size_t>(slot_count_), "{} hypotheses do not fit {} slots", from.size(),
          slot_count_);
  const CacheSlots old = slots_;
  slots_.slot.assign(from.size(), -1);
  slots_.length.clear();
  slots_.memory.clear();

  // The first to continue a hypothesis keeps its slot; the others get copies in slots that nobody keeps.
  std::vector<bool> used(static_cast<std::size_t>(slot_count_), false);
  for (std::size_t i = 0; i < from.size(); ++i) {
    const auto parent = static_cast<std::size_t>(from[i]);
    require(from[i] >= 0 && parent < old.slot.size(), "hypothesis {} does not exist", from[i]);
    const auto slot = static_cast<std::size_t>(old.slot[parent]);
    if (!used[slot]) {
      used[slot] = true;
      slots_.slot[i] = old.slot[parent];
    }
    slots_.length.push_back(old.length[parent]);
    if (!old.memory.empty()) slots_.memory.push_back(old.memory[parent]);
  }
  for (auto& layer : layers_) layer.reorder_states(from);
  std::int32_t free = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (slots_.slot[i] >= 0) continue;
    while (used[static_cast<std::size_t>(free)]) ++free;
    used[static_cast<std::size_t>(free)] = true;
    slots_.slot[i] = free;
    for (auto& layer : layers_) layer.copy(old.slot[static_cast<std::size_t>(from[i])], free, slots_.length[i]);
  }
}

void DecoderCache::shorten(std::int32_t hypothesis, std::int32_t length) {
  std::int32_t& now = slots_.length.at(static_cast<std::size_t>(hypothesis));
  if (length >= now) return;
  now = std::max(length, 0);
  for (SelfAttentionCache& layer : layers_) {
    if (layer.has_states()) now = 0;
  }
  for (SelfAttentionCache& layer : layers_) {
    if (layer.has_states()) layer.clear_state(hypothesis);
  }
}

}  // namespace rapt
