#include "attention/linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "attention/call.h"
#include "attention/check.h"
#include "attention/linear_pass.h"
#include "attention/statistics.h"

namespace rapt::attention::linear {
namespace {

using Path = LinearForm::Path;

/// Up to so many new keys, going through the state once a token costs less than a chunk.
constexpr std::int32_t recurrent_keys = 4;

bool few(const Span& sequence) {
  return sequence.key_count <= recurrent_keys;
}

std::vector<Job> jobs_of(const Items& make, DType dtype, const void* before, void* after, Path path) {
  const Problem& problem = make.problem();
  const std::int64_t bytes = state_size(problem) * size_of_sum(dtype) / problem.kv_heads;
  const bool stateful = before != nullptr || after != nullptr;
  std::vector<Job> jobs;
  for (std::size_t n = 0; n < problem.sequences.size(); ++n) {
    for (int kv_head = 0; kv_head < problem.kv_heads; ++kv_head) {
      Job job{.item = make.whole(n, kv_head), .index = jobs.size()};
      const std::int64_t offset = static_cast<std::int64_t>(jobs.size()) * bytes;
      if (before != nullptr) job.before = static_cast<const std::byte*>(before) + offset;
      if (after != nullptr) job.after = static_cast<std::byte*>(after) + offset;
      job.recurrent = path == Path::recurrent || (path == Path::automatic && stateful && few(problem.sequences[n]));
      jobs.push_back(job);
    }
  }
  return jobs;
}

/// What a job costs, in tokens of one head, and what it costs at the least.
std::int64_t cost_of(const Job& job) {
  return std::int64_t{job.item.query_count} * job.item.heads + job.item.key_count + 8;
}

/// Where groups of neighbouring jobs begin, and the end: small jobs are grouped so that handing them to threads costs
/// little.
std::vector<std::size_t> group(const std::vector<Job>& jobs, std::size_t first, int threads) {
  constexpr std::int64_t least = 128;  // about ten microseconds
  std::int64_t total = 0;
  for (std::size_t i = first; i < jobs.size(); ++i) total += cost_of(jobs[i]);
  const std::int64_t enough = std::max(least, total / (std::int64_t{16} * threads));
  std::vector<std::size_t> groups{first};
  std::int64_t cost = 0;
  for (std::size_t i = first; i < jobs.size(); ++i) {
    cost += cost_of(jobs[i]);
    if (cost < enough && i + 1 < jobs.size()) continue;
    groups.push_back(i + 1);
    cost = 0;
  }
  return groups;
}

/// Calls work(job, split) for all jobs: long ones one after the other, each split over the threads, the others side by
/// side. Only who computes what depends on this, never a result.
template <typename Work>
void run(const PreparedCall& p, std::vector<Job> jobs, Work work) {
  std::int64_t total = 0;
  for (const Job& job : jobs) total += cost_of(job);
  const int threads = p.ctx.threads();
  const auto is_long = [&](const Job& job) {
    constexpr std::int32_t chunks = 4;
    return threads > 1 && !job.recurrent && cost_of(job) > total / (3 * threads) &&
           std::max(job.item.key_count, job.item.query_count) > chunks * chunk_tokens;
  };
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return cost_of(a) > cost_of(b); });
  const auto end_of_long = std::stable_partition(jobs.begin(), jobs.end(), is_long);
  for (auto job = jobs.begin(); job != end_of_long; ++job) work(*job, true);
  const std::vector<std::size_t> groups = group(jobs, static_cast<std::size_t>(end_of_long - jobs.begin()), threads);
  p.ctx.parallel_for(static_cast<std::int64_t>(groups.size()) - 1, [&](std::int64_t g) {
    const auto at = static_cast<std::size_t>(g);
    for (std::size_t i = groups[at]; i < groups[at + 1]; ++i) work(jobs[i], false);
  });
}

/// Adds up [sequences, heads] and stores the sums, [heads] of the type that `dtype` is computed with.
void store_decay_gradients(const std::vector<double>& parts, std::size_t heads, DType dtype, void* result) {
  for (std::size_t head = 0; head < heads; ++head) {
    double sum = 0;
    for (std::size_t i = head; i < parts.size(); i += heads) sum += parts[i];
    if (dtype == DType::f64) {
      static_cast<double*>(result)[head] = sum;
    } else {
      static_cast<float*>(result)[head] = static_cast<float>(sum);
    }
  }
}

/// What the kernels of weights and statistics are called with.
attention::Call call_of_weights(const Call& call) {
  return {.dtype = call.dtype, .heads = call.heads, .log_sum_exp = call.log_sum_exp, .linear = &call};
}

/// The statistics, given the log-sum-exp in `linear`.
void collect_all(const Kernels& kernels, const Items& make, const Call& linear, const Statistics& ask) {
  attention::Call call = call_of_weights(linear);
  call.rows = row_statistics(&ask);
  if (call.rows.any) {
    std::vector<Item> items;
    for (std::size_t i = 0; i < make.problem().sequences.size(); ++i) {
      const std::int32_t count = make.problem().sequences[i].query_count;
      for (int head = 0; head < make.problem().heads; ++head) {
        for (std::int32_t first = 0; first < count; first += chunk_tokens) {
          items.push_back(make.of_head(i, head, first, std::min(chunk_tokens, count - first)));
        }
      }
    }
    make.run(kernels.row_statistics, call, items);
  }
  collect_statistics(kernels.of_weights, make, call, ask);
}

}  // namespace

void forward(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const Outputs& outputs,
             int threads) {
  PreparedCall p(kernels.linear, problem, inputs, threads);
  p.call.out = operand(outputs.out);
  p.call.log_sum_exp = outputs.log_sum_exp;
  const Statistics* const ask = outputs.statistics;
  AlignedMemory sums;
  if (ask != nullptr && ask->of_rows() && outputs.log_sum_exp == nullptr) {
    sums = memory_of_rows(problem, inputs.q.dtype);
    p.call.log_sum_exp = sums.get();
  }
  const Items make(kernels, problem, inputs.q.dtype, threads);
  run(p, jobs_of(make, inputs.q.dtype, inputs.states, outputs.states, problem.linear->path),
      [&](const Job& job, bool split) { forward_job(p, job, split); });
  if (ask != nullptr) collect_all(kernels.linear, make, p.call, *ask);
}

void backward(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const Rows& d_out,
              const Gradients& gradients, int threads) {
  PreparedCall p(kernels.linear, problem, inputs, threads);
  p.call.d_out = operand(d_out);
  p.call.dq = operand(gradients.q);
  p.call.dk = operand(gradients.k);
  p.call.dv = operand(gradients.v);
  p.call.d_alpha = operand(gradients.alpha);
  p.call.d_beta = operand(gradients.beta);
  const Items make(kernels, problem, inputs.q.dtype, threads);
  const bool wants_decays = gradients.decays != nullptr;
  const auto heads = static_cast<std::size_t>(problem.heads);
  // By sequence and head, so that they are added up in one order.
  std::vector<double> d_decays(wants_decays ? problem.sequences.size() * heads : 0);
  const auto shared = static_cast<std::size_t>(problem.heads / problem.kv_heads);
  run(p, jobs_of(make, inputs.q.dtype, nullptr, nullptr, Path::chunked), [&](const Job& job, bool split) {
    backward_job(p, job, split, wants_decays ? &d_decays[job.index * shared] : nullptr);
  });
  if (wants_decays) store_decay_gradients(d_decays, heads, inputs.q.dtype, gradients.decays);
}

void weights(const attention::Kernels& kernels, const Problem& problem, const Inputs& inputs, const void* log_sum_exp,
             int sequence, int head, std::span<float> weights, int threads) {
  PreparedCall p(kernels.linear, problem, inputs, threads);
  p.call.log_sum_exp = const_cast<void*>(log_sum_exp);
  write_weights(kernels.linear.of_weights.weights, Items(kernels, problem, inputs.q.dtype, threads),
                call_of_weights(p.call), sequence, head, weights.data());
}

std::string explain(const Problem& problem) {
  std::string text = fmt::format("; linear form {}", name_of(problem.linear->kind));
  if (problem.linear->kind == LinearForm::Kind::favor) {
    text += fmt::format(" with {} random features", problem.linear->features.count());
  }
  switch (problem.linear->path) {
    case Path::recurrent:
      return text + ", token by token";
    case Path::chunked:
      return text + fmt::format(", in chunks of {} tokens", chunk_tokens);
    case Path::automatic:
      break;
  }
  return text +
         fmt::format(", in chunks of {} tokens; with states, {} of {} sequences (at most {} new keys) token by token",
                     chunk_tokens, std::ranges::count_if(problem.sequences, few), problem.sequences.size(),
                     recurrent_keys);
}

}  // namespace rapt::attention::linear

namespace rapt::attention {

std::int64_t state_size(const Problem& problem) {
  if (problem.linear == nullptr) return 0;
  const LinearForm& form = *problem.linear;
  const bool favor = form.kind == LinearForm::Kind::favor;
  const std::int64_t states = form.kind == LinearForm::Kind::retention ? problem.heads : problem.kv_heads;
  return states * linear::features_of(problem) * (problem.d_value + (form.is_normalised() ? 1 : 0) + (favor ? 1 : 0));
}

}  // namespace rapt::attention
