#include "attention/linear_pass.h"

#include <algorithm>
#include <cstring>

#include "attention/call.h"
#include "core/aligned_memory.h"

namespace rapt::attention::linear {
namespace {

/// The chunks of an item in the order in which the state runs through them.
std::vector<Chunk> chunks_of(const Call& call, const Item& item) {
  std::vector<Chunk> chunks;
  const auto only_queries = [&](std::int32_t end) {
    for (std::int32_t query = 0; query < end; query += chunk_tokens) {
      chunks.push_back({.first_query = query, .queries = std::min(chunk_tokens, end - query)});
    }
  };
  // Query i stands at key i + ahead.
  const std::int32_t ahead = item.key_count - item.query_count;
  if (call.causal) only_queries(std::min(item.query_count, std::max(0, -ahead)));
  for (std::int32_t key = 0; key < item.key_count; key += chunk_tokens) {
    const std::int32_t keys = std::min(chunk_tokens, item.key_count - key);
    const std::int32_t place = std::max(0, ahead - key);
    const bool any = call.causal && place < keys;
    chunks.push_back({.first_key = key,
                      .keys = keys,
                      .first_query = any ? key + place - ahead : 0,
                      .queries = any ? keys - place : 0,
                      .diagonal = any ? place : 0});
  }
  if (!call.causal) only_queries(item.query_count);
  return chunks;
}

/// Bytes of the states of an item as the caller keeps them.
std::size_t state_bytes_of(const Call& call, const Item& item) {
  const std::int64_t vectors = (call.normalised ? 1 : 0) + (call.map == Map::favor ? 1 : 0);
  const std::int64_t elements = std::int64_t{call.width} * (call.d_value + vectors);
  return static_cast<std::size_t>(elements * (call.decayed ? item.heads : 1)) *
         static_cast<std::size_t>(size_of_sum(call.dtype));
}

/// Memory for a job, 64-byte aligned: up to `kept_bytes` the thread's own, which stays for the next job. One at a time
/// on a thread.
class Memory {
 public:
  explicit Memory(std::int64_t bytes) {
    thread_local AlignedMemory kept;
    thread_local std::int64_t kept_size = 0;
    if (bytes > kept_bytes) {
      own_ = aligned_memory(bytes);
      data_ = own_.get();
      return;
    }
    if (bytes > kept_size) {
      kept.reset();
      kept_size = 0;
      kept = aligned_memory(bytes);
      kept_size = bytes;
    }
    data_ = kept.get();
  }
  std::byte* take(std::int64_t bytes) {
    std::byte* const piece = data_;
    data_ += bytes;
    return piece;
  }

 private:
  static constexpr std::int64_t kept_bytes = 16 << 20;
  AlignedMemory own_;
  std::byte* data_ = nullptr;
};

/// Room for several states, used in turn.
struct Ring {
  std::byte* first;
  std::int64_t state_bytes;
  std::int64_t count;
  std::int64_t used = 0;
  std::byte* next() { return first + used++ % count * state_bytes; }
};

/// One item at work: on the calling thread, or split over all of them.
class Pass {
 public:
  Pass(const PreparedCall& prepared, const Job& job, bool split)
      : kernels_(prepared.kernels), call_(prepared.call), sizes_(prepared.sizes), job_(job) {
    for (const Chunk& chunk : chunks_of(call_, job.item)) steps_.push_back({.chunk = chunk});
    if (!split) return;
    ctx_ = &prepared.ctx;
    window_ = std::min<std::int64_t>(std::max<std::int64_t>(1, count()), std::int64_t{8} * ctx_->threads());
  }

  void forward() {
    Memory memory(window_ * sizes_.chunk + (window_ + 1) * sizes_.state);
    place_chunks(memory.take(window_ * sizes_.chunk), sizes_.chunk);
    const void* last = place_states({memory.take((window_ + 1) * sizes_.state), sizes_.state, window_ + 1});
    each_window([&](std::int64_t first, std::int64_t end) {
      each(first, end, kernels_.prepare);
      advance(first, end);
      each(first, end, kernels_.output);
    });
    if (job_.after == nullptr) return;
    if (last != nullptr) {
      kernels_.export_state(call_, job_.item, last, job_.after);
    } else {
      std::memset(job_.after, 0, state_bytes_of(call_, job_.item));
    }
  }

  /// d_decays: [heads of the item], added to; null: not wanted.
  void backward(double* d_decays) {
    const std::int64_t chunk_bytes = std::max(sizes_.chunk, sizes_.chunk_backward);
    Memory memory(window_ * chunk_bytes + (count() + window_ + 2) * sizes_.state);
    place_chunks(memory.take(window_ * chunk_bytes), chunk_bytes);
    place_states({memory.take((count() + 1) * sizes_.state), sizes_.state, count() + 1});
    place_gradients({memory.take((window_ + 1) * sizes_.state), sizes_.state, window_ + 1});
    std::vector<double> parts(d_decays == nullptr ? 0 : steps_.size() * static_cast<std::size_t>(job_.item.heads));
    if (d_decays != nullptr) place_parts(parts);

    each_window([&](std::int64_t first, std::int64_t end) {
      // The state after the last chunk is nobody's.
      end = std::min(end, count() - 1);
      each(first, end, kernels_.prepare);
      advance(first, end);
    });
    each_window_backward([&](std::int64_t first, std::int64_t end) {
      each(first, end, kernels_.prepare_backward);
      advance_backward(first, end);
      each(first, end, kernels_.finish_backward);
    });
    for (std::size_t i = 0; i < parts.size(); ++i) d_decays[i % static_cast<std::size_t>(job_.item.heads)] += parts[i];
  }

 private:
  std::int64_t count() const { return static_cast<std::int64_t>(steps_.size()); }
  Step& step(std::int64_t i) { return steps_[static_cast<std::size_t>(i)]; }

  void place_chunks(std::byte* memory, std::int64_t bytes) {
    for (std::int64_t i = 0; i < count(); ++i) step(i).memory = memory + i % window_ * bytes;
  }
  /// Where states of the forward pass go; returns the last.
  const void* place_states(Ring ring) {
    std::byte* state = nullptr;
    if (job_.before != nullptr) {
      state = ring.next();
      kernels_.import_state(call_, job_.item, job_.before, state);
    }
    for (std::int64_t i = 0; i < count(); ++i) {
      step(i).before = state;
      const bool asked_for = i + 1 < count() || job_.after != nullptr;
      if (step(i).chunk.keys > 0 && asked_for) step(i).after = state = ring.next();
    }
    return state;
  }
  void place_gradients(Ring ring) {
    std::byte* gradient = nullptr;
    for (std::int64_t i = count() - 1; i >= 0; --i) {
      step(i).d_after = gradient;
      gradient = step(i).before == nullptr ? nullptr : ring.next();
      step(i).d_before = gradient;
    }
  }
  void place_parts(std::vector<double>& parts) {
    for (std::int64_t i = 0; i < count(); ++i) step(i).d_decay = parts.data() + i * job_.item.heads;
  }

  template <typename Work>
  void each_window(Work work) {
    for (std::int64_t i = 0; i < count(); i += window_) work(i, std::min(count(), i + window_));
  }
  template <typename Work>
  void each_window_backward(Work work) {
    for (std::int64_t end = count(); end > 0; end -= window_) work(std::max<std::int64_t>(0, end - window_), end);
  }
  template <typename Work>
  void loop(std::int64_t n, Work work) const {
    if (ctx_ != nullptr) return ctx_->parallel_for(n, work);
    for (std::int64_t i = 0; i < n; ++i) work(i);
  }
  void each(std::int64_t first, std::int64_t end, void (*kernel)(const Call&, const Item&, const Step&)) {
    loop(end - first, [&](std::int64_t i) { kernel(call_, job_.item, step(first + i)); });
  }
  /// Calls work(first, last) for parts of the state that may be computed apart.
  template <typename Work>
  void each_part(Work work) const {
    constexpr std::int32_t least = 32;
    const std::int32_t all = call_.delta ? call_.d_value : call_.width;
    const std::int32_t most = ctx_ == nullptr ? 1 : ctx_->threads();
    const std::int32_t parts = std::min(most, (all + least - 1) / least);
    const std::int32_t size = ((all + parts - 1) / parts + 15) / 16 * 16;
    loop((all + size - 1) / size, [&](std::int64_t i) {
      const std::int32_t first = static_cast<std::int32_t>(i) * size;
      work(first, std::min(all, first + size));
    });
  }
  void advance(std::int64_t first, std::int64_t end) {
    each_part([&](std::int32_t from, std::int32_t to) {
      for (std::int64_t i = first; i < end; ++i) {
        if (step(i).chunk.keys > 0) kernels_.advance(call_, job_.item, step(i), from, to);
      }
    });
  }
  void advance_backward(std::int64_t first, std::int64_t end) {
    each_part([&](std::int32_t from, std::int32_t to) {
      for (std::int64_t i = end - 1; i >= first; --i) {
        if (call_.delta || step(i).d_before != nullptr) kernels_.advance_backward(call_, job_.item, step(i), from, to);
      }
    });
  }

  const Kernels& kernels_;
  const Call& call_;
  const Sizes& sizes_;
  const Job& job_;
  const Context* ctx_ = nullptr;
  std::int64_t window_ = 1;  ///< chunks at work at a time
  std::vector<Step> steps_;
};

void run_recurrent(const PreparedCall& prepared, const Job& job) {
  const std::size_t state_bytes = state_bytes_of(prepared.call, job.item);
  const auto aligned = static_cast<std::int64_t>((state_bytes + 63) / 64 * 64);
  Memory memory(prepared.sizes.recurrent + aligned);
  std::byte* state = job.after != nullptr ? job.after : memory.take(aligned);
  if (job.before == nullptr) {
    std::memset(state, 0, state_bytes);
  } else if (job.before != state) {
    std::memcpy(state, job.before, state_bytes);
  }
  prepared.kernels.recurrent(prepared.call, job.item, state, memory.take(prepared.sizes.recurrent));
}

}  // namespace

void forward_job(const PreparedCall& prepared, const Job& job, bool split) {
  if (job.item.query_count == 0 && job.after == nullptr) return;
  if (job.recurrent) return run_recurrent(prepared, job);
  Pass(prepared, job, split).forward();
}

void backward_job(const PreparedCall& prepared, const Job& job, bool split, double* d_decays) {
  Pass(prepared, job, split).backward(d_decays);
}

}  // namespace rapt::attention::linear
