#include "attention/linear.h"

#include <algorithm>
#include <vector>

#include "attention/linear_checks.h"
#include "attention/linear_pass.h"

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

/// Up to so many new keys, going through the state once a token costs less than a chunk.
constexpr std::int32_t recurrent_keys = 4;

std::vector<Job> jobs_of(const LinearProblem& problem, const Call& call, const LinearStates& states, LinearPath path) {
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
      job.recurrent =
          path == LinearPath::recurrent || (path == LinearPath::automatic && stateful && s.key_count <= recurrent_keys);
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

  PreparedCall p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand_of(inputs.q);
  p.call.k = operand_of(inputs.k);
  p.call.v = operand_of(inputs.v);
  p.call.out = operand_of(out);
  run(p, jobs_of(problem, p.call, states, problem.path),
      [&](const Job& job, bool split) { forward_job(p, job, split); });
}

void backward(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, const Rows& d_out,
              const LinearGradients& gradients, int threads) {
  check_keys_and_queries(problem, inputs.q, inputs.k);
  check_rows("v", inputs.v, inputs.q.dtype, problem.kv_heads, problem.d_value);
  check_rows("d_out", d_out, inputs.q.dtype, problem.heads, problem.d_value);
  check_gradients(problem, inputs.q.dtype, gradients);

  PreparedCall p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand_of(inputs.q);
  p.call.k = operand_of(inputs.k);
  p.call.v = operand_of(inputs.v);
  p.call.d_out = operand_of(d_out);
  p.call.dq = operand_of(gradients.q);
  p.call.dk = operand_of(gradients.k);
  p.call.dv = operand_of(gradients.v);
  p.call.d_alpha = operand_of(gradients.alpha);
  p.call.d_beta = operand_of(gradients.beta);
  const bool wants_decays = gradients.decays != nullptr && p.call.decayed;
  const auto heads = static_cast<std::size_t>(problem.heads);
  // By sequence and head, so that they are added up in one order.
  std::vector<double> d_decays(wants_decays ? problem.sequences.size() * heads : 0);
  const auto shared = static_cast<std::size_t>(problem.heads / problem.kv_heads);
  run(p, jobs_of(problem, p.call, {}, LinearPath::chunked), [&](const Job& job, bool split) {
    backward_job(p, job, split, wants_decays ? &d_decays[job.index * shared] : nullptr);
  });
  if (wants_decays) store_decay_gradients(d_decays, heads, inputs.q.dtype, gradients.decays);
}

void weights(const Kernels& kernels, const LinearProblem& problem, const Inputs& inputs, int sequence, int head,
             std::span<float> weights, int threads) {
  check_keys_and_queries(problem, inputs.q, inputs.k);
  check_weights(problem, sequence, head, weights.size());

  PreparedCall p(kernels, problem, inputs.q.dtype, threads);
  p.call.q = operand_of(inputs.q);
  p.call.k = operand_of(inputs.k);
  p.call.weights = weights.data();
  const Span& s = problem.sequences[static_cast<std::size_t>(sequence)];
  const Item item = item_of(s, head, 1, head / (problem.heads / problem.kv_heads));
  p.ctx.parallel_for((s.query_count + chunk_tokens - 1) / chunk_tokens, [&](std::int64_t i) {
    const std::int32_t first = static_cast<std::int32_t>(i) * chunk_tokens;
    weights_job(p, item, first, std::min(chunk_tokens, s.query_count - first));
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
