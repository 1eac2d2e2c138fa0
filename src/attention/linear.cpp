#include "attention/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/linear_features.h"
#include "core/context.h"
#include "core/error.h"

namespace rapt::attention::linear {

namespace portable {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

namespace {

using Kind = LinearForm::Kind;

constexpr int most_width = 1024;
/// Up to so many new keys, going through the state once a token costs less than a chunk.
constexpr std::int32_t recurrent_keys = 4;

DType scalar_type(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}
bool is_normalised(const LinearForm& form) {
  return form.kind == Kind::elu_plus_one || form.kind == Kind::relu || form.kind == Kind::favor;
}
std::int64_t features_of(const LinearProblem& problem) {
  return problem.form.kind == Kind::favor ? problem.form.features.count() : problem.d_key;
}
std::string_view name_of(Kind kind) {
  constexpr std::string_view names[] = {"elu_plus_one", "relu", "favor", "retention", "gated_delta"};
  return names[static_cast<int>(kind)];
}

// What is checked before any work starts.

void check_sequences(const LinearProblem& problem) {
  for (const Span& s : problem.sequences) {
    require(s.query_begin >= 0 && s.query_count >= 0 && s.key_begin >= 0 && s.key_count >= 0,
            "linear attention: sequence {} has a negative bound (queries {}+{}, keys {}+{})",
            &s - problem.sequences.data(), s.query_begin, s.query_count, s.key_begin, s.key_count);
  }
}

void check_rows(std::string_view name, const Rows& rows, DType dtype, int heads, int d) {
  require(rows.dtype == dtype, "linear attention: {} is {} where {} is needed", name, rapt::name_of(rows.dtype),
          rapt::name_of(dtype));
  require(rows.stride >= std::int64_t{heads} * d, "linear attention: the stride {} of {} is less than {} heads of {}",
          rows.stride, name, heads, d);
}

void check_decays(const LinearProblem& problem, DType dtype) {
  require(problem.form.decays != nullptr, "linear attention: retention needs its decays, one for each head");
  for (int head = 0; head < problem.heads; ++head) {
    const double decay = dtype == DType::f64 ? static_cast<const double*>(problem.form.decays)[head]
                                             : double{static_cast<const float*>(problem.form.decays)[head]};
    require(decay >= 0 && decay <= 1, "linear attention: the decay {} of head {} must lie in [0, 1]", decay, head);
  }
}

void check_form(const LinearProblem& problem, DType dtype) {
  const LinearForm& form = problem.form;
  require(form.causal || is_normalised(form), "linear attention: {} exists in causal form only", name_of(form.kind));
  require(std::isfinite(problem.scale), "linear attention: the scale {} is not a number", problem.scale);
  if (form.kind == Kind::favor) {
    require(form.features.count() > 0, "linear attention: favor needs RandomFeatures");
    require(form.features.d_key() == problem.d_key, "linear attention: the random features are for heads of {}, not {}",
            form.features.d_key(), problem.d_key);
    require(problem.scale > 0, "linear attention: the scale {} of favor must be positive", problem.scale);
  }
  if (form.kind == Kind::retention) check_decays(problem, dtype);
  if (form.kind == Kind::gated_delta) {
    check_rows("alpha", form.alpha, scalar_type(dtype), problem.kv_heads, 1);
    check_rows("beta", form.beta, scalar_type(dtype), problem.kv_heads, 1);
  }
}

void check_problem(const LinearProblem& problem) {
  require(problem.heads > 0 && problem.kv_heads > 0 && problem.heads % problem.kv_heads == 0,
          "linear attention: {} query heads cannot share {} key-value heads evenly", problem.heads, problem.kv_heads);
  require(std::min(problem.d_key, problem.d_value) >= 1 && std::max(problem.d_key, problem.d_value) <= most_width,
          "linear attention: head widths d_key {} and d_value {} must lie in 1..{}", problem.d_key, problem.d_value,
          most_width);
  check_sequences(problem);
}

void check_keys_and_queries(const LinearProblem& problem, const Rows& q, const Rows& k) {
  check_problem(problem);
  require(q.dtype == DType::f32 || q.dtype == DType::bf16 || q.dtype == DType::f64,
          "linear attention: operands must be f32, bf16 or f64, not {}", rapt::name_of(q.dtype));
  check_rows("q", q, q.dtype, problem.heads, problem.d_key);
  check_rows("k", k, q.dtype, problem.kv_heads, problem.d_key);
  check_form(problem, q.dtype);
}

void check_states(const LinearProblem& problem, const LinearStates& states) {
  if (!problem.form.causal || (states.before == nullptr && states.after == nullptr)) return;
  for (const Span& s : problem.sequences) {
    require(
        s.query_count <= s.key_count,
        "linear attention: sequence {} has {} queries for {} new keys; a state cannot tell what lies before its last "
        "key",
        &s - problem.sequences.data(), s.query_count, s.key_count);
  }
}

/// Throws unless the ranges (begin, count) are disjoint.
void check_disjoint(std::vector<std::pair<std::int32_t, std::int32_t>> ranges, std::string_view what) {
  std::erase_if(ranges, [](const auto& range) { return range.second == 0; });
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    const auto [begin, count] = ranges[i - 1];
    require(ranges[i].first - begin >= count,
            "linear attention: two sequences share {} row {}, whose gradient would be written twice", what,
            ranges[i].first);
  }
}

void check_nothing_shared(std::span<const Span> sequences) {
  std::vector<std::pair<std::int32_t, std::int32_t>> queries, keys;
  for (const Span& s : sequences) {
    queries.emplace_back(s.query_begin, s.query_count);
    keys.emplace_back(s.key_begin, s.key_count);
  }
  check_disjoint(std::move(queries), "query");
  check_disjoint(std::move(keys), "key");
}

void check_gradients(const LinearProblem& problem, DType dtype, const LinearGradients& gradients) {
  check_rows("dq", gradients.q, dtype, problem.heads, problem.d_key);
  check_rows("dk", gradients.k, dtype, problem.kv_heads, problem.d_key);
  check_rows("dv", gradients.v, dtype, problem.kv_heads, problem.d_value);
  for (const auto& [name, rows] : {std::pair{"d_alpha", gradients.alpha}, {"d_beta", gradients.beta}}) {
    if (rows.data != nullptr) check_rows(name, rows, scalar_type(dtype), problem.kv_heads, 1);
  }
}

// From the public types to those of the inner loops.

Operand operand(const Rows& rows) {
  return {rows.data, rows.stride};
}

template <typename S>
void append_decay_table(double decay, std::vector<S>& tables) {
  std::vector<double> powers(chunk_tokens + 1, 1.0), slopes(chunk_tokens + 1, 0.0);
  for (std::size_t n = 1; n < powers.size(); ++n) {
    powers[n] = powers[n - 1] * decay;
    slopes[n] = static_cast<double>(n) * powers[n - 1];
  }
  const std::size_t begin = tables.size();
  tables.resize(begin + DecayTable::size);
  const auto at = [&](int part, std::size_t n) -> S& { return tables[begin + static_cast<std::size_t>(part) + n]; };
  for (std::size_t n = 0; n < powers.size(); ++n) {
    at(DecayTable::powers, n) = static_cast<S>(powers[n]);
    at(DecayTable::slopes, n) = static_cast<S>(slopes[n]);
    if (n == chunk_tokens) break;
    at(DecayTable::reversed, chunk_tokens - 1 - n) = static_cast<S>(powers[n]);
    at(DecayTable::reversed_slopes, chunk_tokens - 1 - n) = static_cast<S>(slopes[n]);
  }
}

/// A DecayTable for each head of retention, or one for all heads of the other forms.
template <typename S>
std::vector<S> decay_tables(const LinearProblem& problem) {
  std::vector<S> tables;
  if (problem.form.kind != Kind::retention) {
    append_decay_table(1, tables);
    return tables;
  }
  const auto* decays = static_cast<const S*>(problem.form.decays);
  for (int head = 0; head < problem.heads; ++head) append_decay_table(static_cast<double>(decays[head]), tables);
  return tables;
}

/// A call and the memory that it points to.
class Prepared {
 public:
  Prepared(const Kernels& inner, const LinearProblem& problem, DType dtype, int threads)
      : kernels(inner), ctx({.threads = threads}) {
    const LinearForm& form = problem.form;
    const bool favor = form.kind == Kind::favor, retention = form.kind == Kind::retention;
    constexpr Map maps[] = {Map::elu_plus_one, Map::relu, Map::favor, Map::none, Map::none};
    call = {.dtype = dtype,
            .map = maps[static_cast<int>(form.kind)],
            .normalised = is_normalised(form),
            .decayed = retention,
            .delta = form.kind == Kind::gated_delta,
            .causal = form.causal,
            .heads = problem.heads,
            .d_key = problem.d_key,
            .d_value = problem.d_value,
            .width = static_cast<std::int32_t>(features_of(problem)),
            .query_scale = favor                 ? std::sqrt(problem.scale)
                           : is_normalised(form) ? 1.0
                                                 : problem.scale,
            .key_scale = favor ? std::sqrt(problem.scale) : 1.0,
            .decay_stride = retention ? DecayTable::size : 0,
            .alpha = operand(form.alpha),
            .beta = operand(form.beta)};
    dtype == DType::f64 ? point_to(f64_tables_, problem) : point_to(f32_tables_, problem);
    if (favor) point_to_directions(*form.features.directions());
    Item any{};
    any.heads = problem.heads / problem.kv_heads;
    kernels.measure(call, any, &sizes);
  }

  const Kernels& kernels;
  Context ctx;
  Call call;
  Sizes sizes;

 private:
  template <typename S>
  void point_to(std::vector<S>& tables, const LinearProblem& problem) {
    tables = decay_tables<S>(problem);
    call.decay_tables = tables.data();
  }
  void point_to_directions(const RandomFeatures::Directions& directions) {
    const bool f64 = call.dtype == DType::f64;
    call.directions = f64 ? static_cast<const void*>(directions.f64.data()) : directions.f32.data();
    call.directions_t = f64 ? static_cast<const void*>(directions.f64_t.data()) : directions.f32_t.data();
    call.directions_stride = directions.stride;
    call.directions_t_stride = directions.stride_t;
  }

  std::vector<float> f32_tables_;
  std::vector<double> f64_tables_;
};

/// One item of a call, and its part of the states.
struct Job {
  Item item{};
  const std::byte* before = nullptr;
  std::byte* after = nullptr;
  bool recurrent = false;
  std::size_t index = 0;
};

Item item_of(const Span& s, int head, int heads, int kv_head) {
  return {.query_begin = s.query_begin,
          .query_count = s.query_count,
          .key_begin = s.key_begin,
          .key_count = s.key_count,
          .head = head,
          .heads = heads,
          .kv_head = kv_head};
}

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

std::int64_t cost_of(const Item& item) {
  return std::int64_t{item.query_count} * item.heads + item.key_count + 8;
}

// Memory.

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{64}); }
};
using Block = std::unique_ptr<std::byte, AlignedDelete>;

Block allocate(std::int64_t bytes) {
  return Block(static_cast<std::byte*>(::operator new (static_cast<std::size_t>(bytes), std::align_val_t{64})));
}

/// Memory for a job, 64-byte aligned: up to `kept_bytes` the thread's own, which stays for the next job. One at a time
/// on a thread.
class Memory {
 public:
  explicit Memory(std::int64_t bytes) {
    thread_local Block kept;
    thread_local std::int64_t kept_size = 0;
    if (bytes > kept_bytes) {
      own_ = allocate(bytes);
      data_ = own_.get();
      return;
    }
    if (bytes > kept_size) {
      kept.reset();
      kept_size = 0;
      kept = allocate(bytes);
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
  Block own_;
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

// The passes over one item.

/// One item at work: on the calling thread, or split over all of them.
class Pass {
 public:
  Pass(const Prepared& prepared, const Job& job, bool split)
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

  /// d_decays: [heads of the item], added to, or null.
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

  /// Bytes of the states of an item as the caller keeps them.
  static std::size_t state_bytes_of(const Call& call, const Item& item) {
    const std::int64_t vectors = (call.normalised ? 1 : 0) + (call.map == Map::favor ? 1 : 0);
    const std::int64_t elements = std::int64_t{call.width} * (call.d_value + vectors);
    return static_cast<std::size_t>(elements * (call.decayed ? item.heads : 1)) *
           size_of(rapt::attention::linear::scalar_type(call.dtype));
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

void run_recurrent(const Prepared& p, const Job& job) {
  const std::size_t state_bytes = Pass::state_bytes_of(p.call, job.item);
  const auto aligned = static_cast<std::int64_t>((state_bytes + 63) / 64 * 64);
  Memory memory(p.sizes.recurrent + aligned);
  std::byte* state = job.after != nullptr ? job.after : memory.take(aligned);
  if (job.before == nullptr) {
    std::memset(state, 0, state_bytes);
  } else if (job.before != state) {
    std::memcpy(state, job.before, state_bytes);
  }
  p.kernels.recurrent(p.call, job.item, state, memory.take(p.sizes.recurrent));
}

/// Calls work(job, split) for all jobs: long ones one after the other, each split over the threads, the others side by
/// side. Only who computes what depends on this, never a result.
template <typename Work>
void run(const Prepared& p, std::vector<Job> jobs, Work work) {
  std::int64_t total = 0;
  for (const Job& job : jobs) total += cost_of(job.item);
  const int threads = p.ctx.threads();
  const auto is_long = [&](const Job& job) {
    constexpr std::int32_t chunks = 4;
    return threads > 1 && !job.recurrent && cost_of(job.item) > total / (3 * threads) &&
           std::max(job.item.key_count, job.item.query_count) > chunks * chunk_tokens;
  };
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const Job& a, const Job& b) { return cost_of(a.item) > cost_of(b.item); });
  const auto short_ones = std::stable_partition(jobs.begin(), jobs.end(), is_long);
  for (auto job = jobs.begin(); job != short_ones; ++job) work(*job, true);
  p.ctx.parallel_for(jobs.end() - short_ones, [&](std::int64_t i) { work(short_ones[i], false); });
}

/// The jobs of a call; none for sequences that nothing is asked of.
std::vector<Job> jobs_of(const LinearProblem& problem, const Call& call, const LinearStates& states) {
  const int shared = problem.heads / problem.kv_heads;
  const std::int64_t scalar = static_cast<std::int64_t>(size_of(scalar_type(call.dtype)));
  const std::int64_t sequence_bytes = linear_state_size(problem) * scalar;
  const bool stateful = states.before != nullptr || states.after != nullptr;
  std::vector<Job> jobs;
  for (std::size_t n = 0; n < problem.sequences.size(); ++n) {
    const Span& s = problem.sequences[n];
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      Job job{.item = item_of(s, kv_head * shared, shared, kv_head), .index = jobs.size()};
      const std::int64_t offset =
          static_cast<std::int64_t>(n) * sequence_bytes + kv_head * (sequence_bytes / problem.kv_heads);
      if (states.before != nullptr) job.before = static_cast<const std::byte*>(states.before) + offset;
      if (states.after != nullptr) job.after = static_cast<std::byte*>(states.after) + offset;
      job.recurrent = problem.path == LinearPath::recurrent ||
                      (problem.path == LinearPath::automatic && stateful && s.key_count <= recurrent_keys);
      jobs.push_back(job);
    }
  }
  return jobs;
}

}  // namespace

const Kernels& kernels_for(kernels::Isa isa) {
  switch (isa) {
    case kernels::Isa::avx512:
      return avx512::kernels;
    case kernels::Isa::avx2:
      return avx2::kernels;
    case kernels::Isa::portable:
      break;
  }
  return portable::kernels;
}

void forward(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, const Rows& out,
             const LinearStates& states, int threads) {
  check_keys_and_queries(problem, inputs.q, inputs.k);
  check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
  check_rows("out", out, inputs.q.dtype, problem.heads, problem.d_value);
  check_states(problem, states);

  Prepared p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand(inputs.q);
  p.call.k = operand(inputs.k);
  p.call.v = operand(inputs.v);
  p.call.out = operand(out);
  run(p, jobs_of(problem, p.call, states), [&](const Job& job, bool split) {
    if (job.item.query_count == 0 && job.after == nullptr) return;
    if (job.recurrent) return run_recurrent(p, job);
    Pass(p, job, split).forward();
  });
}

void backward(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, const Rows& d_out,
              const LinearGradients& gradients, int threads) {
  check_keys_and_queries(problem, inputs.q, inputs.k);
  check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
  check_rows("d_out", d_out, inputs.q.dtype, problem.heads, problem.d_value);
  check_gradients(problem, inputs.q.dtype, gradients);
  check_nothing_shared(problem.sequences);

  Prepared p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand(inputs.q);
  p.call.k = operand(inputs.k);
  p.call.v = operand(inputs.v);
  p.call.d_out = operand(d_out);
  p.call.dq = operand(gradients.q);
  p.call.dk = operand(gradients.k);
  p.call.dv = operand(gradients.v);
  p.call.d_alpha = operand(gradients.alpha);
  p.call.d_beta = operand(gradients.beta);
  const bool wants_decays = gradients.decays != nullptr && p.call.decayed;
  const auto heads = static_cast<std::size_t>(problem.heads);
  // By sequence and head, so that they are added up in one order.
  std::vector<double> d_decays(wants_decays ? problem.sequences.size() * heads : 0);
  const auto shared = static_cast<std::size_t>(problem.heads / problem.kv_heads);
  run(p, jobs_of(problem, p.call, {}), [&](const Job& job, bool split) {
    Pass(p, job, split).backward(wants_decays ? &d_decays[job.index * shared] : nullptr);
  });
  if (!wants_decays) return;
  for (std::size_t head = 0; head < heads; ++head) {
    double sum = 0;
    for (std::size_t i = head; i < d_decays.size(); i += heads) sum += d_decays[i];
    if (inputs.q.dtype == DType::f64) {
      static_cast<double*>(gradients.decays)[head] = sum;
    } else {
      static_cast<float*>(gradients.decays)[head] = static_cast<float>(sum);
    }
  }
}

void weights(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, int sequence, int head,
             std::span<float> weights, int threads) {
  check_keys_and_queries(problem, inputs.q, inputs.k);
  require(
      problem.form.kind != Kind::gated_delta,
      "linear attention: gated_delta implies no weights of keys for queries, because later keys rewrite what earlier "
      "ones stored");
  require(sequence >= 0 && static_cast<std::size_t>(sequence) < problem.sequences.size(),
          "linear attention: there is no sequence {} among {}", sequence, problem.sequences.size());
  require(head >= 0 && head < problem.heads, "linear attention: there is no head {} among {}", head, problem.heads);
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  require(weights.size() == static_cast<std::size_t>(s.query_count) * static_cast<std::size_t>(s.key_count),
          "linear attention: {} places cannot take the weights of {} queries and {} keys", weights.size(),
          s.query_count, s.key_count);

  Prepared p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand(inputs.q);
  p.call.k = operand(inputs.k);
  p.call.weights = weights.data();
  const Item item = item_of(s, head, 1, head / (problem.heads / problem.kv_heads));
  p.ctx.parallel_for((s.query_count + chunk_tokens - 1) / chunk_tokens, [&](std::int64_t i) {
    const std::int32_t first = static_cast<std::int32_t>(i) * chunk_tokens;
    Memory memory(p.sizes.weights);
    kernels.weights(p.call, item, first, std::min(chunk_tokens, s.query_count - first), memory.take(p.sizes.weights));
  });
}

}  // namespace rapt::attention::linear

namespace rapt::attention {

std::int64_t linear_state_size(const LinearProblem& problem) {
  const LinearForm& form = problem.form;
  const bool favor = form.kind == LinearForm::Kind::favor;
  const bool normalised = linear::is_normalised(form);
  const std::int64_t states = form.kind == LinearForm::Kind::retention ? problem.heads : problem.kv_heads;
  return states * linear::features_of(problem) * (problem.d_value + (normalised ? 1 : 0) + (favor ? 1 : 0));
}

void linear_forward(const LinearProblem& problem, const Inputs& inputs, const Rows& out, const LinearStates& states,
                    int threads) {
  linear::forward(linear::kernels_for(kernels::isa()), problem, inputs, out, states, threads);
}

void linear_backward(const LinearProblem& problem, const Inputs& inputs, const Rows& d_out,
                     const LinearGradients& gradients, int threads) {
  linear::backward(linear::kernels_for(kernels::isa()), problem, inputs, d_out, gradients, threads);
}

void linear_weights(const LinearProblem& problem, const Inputs& inputs, int sequence, int head,
                    std::span<float> weights, int threads) {
  linear::weights(linear::kernels_for(kernels::isa()), problem, inputs, sequence, head, weights, threads);
}

}  // namespace rapt::attention
