#include "attention/terms.h"

#include <algorithm>
#include <cmath>

#include "attention/call.h"

namespace rapt::attention {
namespace {

/// Calls function(float{}) or function(double{}): the type S of the operands' type.
template <typename Function>
void with_sum_type(DType dtype, Function&& function) {
  if (dtype == DType::f64) {
    function(double{});
  } else {
    function(float{});
  }
}

/// The largest distance between a key and a query's position, whichever end they are aligned at.
std::int64_t reach_of(const Problem& problem) {
  std::int64_t reach = 0;
  for (const Span& s : problem.sequences) reach = std::max(reach, std::int64_t{s.query_count} + s.key_count);
  return reach;
}

}  // namespace

std::int32_t relative_bucket(const RelativeBias& relative, std::int64_t distance) {
  std::int32_t buckets = relative.buckets;
  std::int32_t first = 0;
  std::int64_t n = std::max<std::int64_t>(-distance, 0);
  if (relative.bidirectional) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    n = std::abs(distance);
  }
  const std::int32_t exact = buckets / 2;
  if (n < exact) return first + static_cast<std::int32_t>(n);
  // In float32, as the models were trained.
  const float fraction = std::log(static_cast<float>(n) / static_cast<float>(exact)) /
                         static_cast<float>(std::log(static_cast<double>(relative.max_distance) / exact));
  const auto far = static_cast<std::int32_t>(fraction * static_cast<float>(buckets - exact));
  return first + std::min(exact + far, buckets - 1);
}

template <typename S>
void Terms::spread_relative(const Problem& problem, std::vector<S>& values) {
  const std::int64_t distances = 2 * added_.reach + 1;
  const auto heads = static_cast<std::int64_t>(problem.heads);
  values.resize(static_cast<std::size_t>(heads * distances));
  const auto* table = static_cast<const S*>(problem.relative.table);
  for (std::int64_t d = 0; d < distances; ++d) {
    const std::int64_t bucket = relative_bucket(problem.relative, d - added_.reach);
    for (std::int64_t h = 0; h < heads; ++h) {
      values[static_cast<std::size_t>(h * distances + d)] = table[bucket * heads + h];
    }
  }
  added_.relative = values.data();
}

Terms::Terms(const Problem& problem, DType dtype) {
  const Bias& bias = problem.bias;
  added_ = {.soft_cap = problem.soft_cap,
            .bias = bias.data,
            .by_sequence = bias.by_sequence,
            .by_head = bias.by_head,
            .by_query = bias.by_query,
            .by_key = bias.by_key,
            .reach = reach_of(problem),
            .relative_from_start = problem.relative.align == Align::start,
            .alibi_slopes = problem.alibi_slopes,
            .sinks = problem.sinks};
  if (problem.relative.table != nullptr) {
    if (dtype == DType::f64) {
      spread_relative(problem, doubles_);
    } else {
      spread_relative(problem, floats_);
    }
  }
  // A scale that is not positive would turn the running maximum of products round.
  added_.any = !(problem.scale > 0) || problem.soft_cap > 0 || bias.data != nullptr || added_.relative != nullptr ||
               problem.alibi_slopes != nullptr;
}

TermGradients::TermGradients(const Problem& problem, const Gradients& gradients, DType dtype, AddedScores& added)
    : problem_(problem), gradients_(gradients), dtype_(dtype), distances_(2 * added.reach + 1) {
  added.d_bias = gradients.bias;
  added.d_relative = gradients.relative != nullptr;
  added.d_slopes = gradients.alibi_slopes != nullptr;
  if (gradients.scale != nullptr) added.any = true;
  wanted_ = added.any;
  const auto heads = static_cast<std::size_t>(problem.heads);
  slopes_.resize(heads);
  sinks_.resize(heads);
  relative_.resize(added.d_relative ? heads * static_cast<std::size_t>(distances_) : 0);
  if (gradients.bias != nullptr) clear_bias();
}

void TermGradients::clear_bias() const {
  const Bias& bias = problem_.bias;
  with_sum_type(dtype_, [&](auto type) {
    auto* const data = static_cast<decltype(type)*>(gradients_.bias);
    const auto count = [](std::int64_t stride, std::int64_t n) {
      return stride == 0 ? std::min<std::int64_t>(n, 1) : n;
    };
    const auto sequences = static_cast<std::int64_t>(problem_.sequences.size());
    for (std::int64_t s = 0; s < count(bias.by_sequence, sequences); ++s) {
      for (std::int64_t h = 0; h < count(bias.by_head, problem_.heads); ++h) {
        // Where sequences share the bias, the longest says how much of it there is.
        std::int64_t queries = 0, keys = 0;
        for (std::int64_t t = bias.by_sequence == 0 ? 0 : s; t < (bias.by_sequence == 0 ? sequences : s + 1); ++t) {
          const Span& span = problem_.sequences[static_cast<std::size_t>(t)];
          queries = std::max<std::int64_t>(queries, span.query_count);
          keys = std::max<std::int64_t>(keys, span.key_count);
        }
        for (std::int64_t q = 0; q < count(bias.by_query, queries); ++q) {
          for (std::int64_t k = 0; k < count(bias.by_key, keys); ++k) {
            data[s * bias.by_sequence + h * bias.by_head + q * bias.by_query + k * bias.by_key] = 0;
          }
        }
      }
    }
  });
}

std::int64_t TermGradients::place_size(const Item& item) const {
  return 2 + item.heads * (1 + (relative_.empty() ? 0 : distances_));
}

void TermGradients::give_places(std::vector<Item>& items, std::vector<std::byte>& memory) const {
  if (!wanted_) return;
  const std::int64_t bytes = size_of_sum(dtype_);
  std::int64_t size = 0;
  for (const Item& item : items) size += place_size(item) * bytes;
  memory.assign(static_cast<std::size_t>(size), std::byte{0});
  std::byte* place = memory.data();
  for (Item& item : items) {
    item.shared_gradients = place;
    place += place_size(item) * bytes;
  }
}

template <typename S>
void TermGradients::collect_item(const Item& item) {
  const auto* from = static_cast<const S*>(item.shared_gradients);
  scale_ += from[0];
  soft_cap_ += from[1];
  from += 2;
  for (std::int32_t h = 0; h < item.heads; ++h) slopes_[static_cast<std::size_t>(item.head + h)] += from[h];
  if (relative_.empty()) return;
  from += item.heads;
  double* to = relative_.data() + item.head * distances_;
  for (std::int64_t i = 0; i < item.heads * distances_; ++i) to[i] += from[i];
}

void TermGradients::collect(const std::vector<Item>& items) {
  if (!wanted_) return;
  with_sum_type(dtype_, [&](auto type) {
    for (const Item& item : items) collect_item<decltype(type)>(item);
  });
}

void TermGradients::add_sinks(const void* log_sum_exp, const void* delta) {
  if (gradients_.sinks == nullptr) return;
  with_sum_type(dtype_, [&](auto type) {
    using S = decltype(type);
    for (const Span& s : problem_.sequences) {
      for (std::int64_t row = 0; row < std::int64_t{s.query_count} * problem_.heads; ++row) {
        const std::int64_t place = std::int64_t{s.query_begin} * problem_.heads + row;
        const std::int64_t head = row % problem_.heads;
        // The sink has no value, so its weight's gradient is 0.
        const double weight = std::exp(static_cast<double>(static_cast<const S*>(problem_.sinks)[head]) -
                                       static_cast<double>(static_cast<const S*>(log_sum_exp)[place]));
        sinks_[static_cast<std::size_t>(head)] -= weight * static_cast<double>(static_cast<const S*>(delta)[place]);
      }
    }
  });
}

void TermGradients::write() const {
  with_sum_type(dtype_, [&](auto type) {
    using S = decltype(type);
    const auto write_numbers = [](void* to, const std::vector<double>& from) {
      if (to != nullptr) std::ranges::transform(from, static_cast<S*>(to), [](double x) { return static_cast<S>(x); });
    };
    write_numbers(gradients_.scale, {scale_});
    write_numbers(gradients_.soft_cap, {soft_cap_});
    write_numbers(gradients_.alibi_slopes, slopes_);
    write_numbers(gradients_.sinks, sinks_);
    if (gradients_.relative == nullptr) return;
    const auto heads = static_cast<std::size_t>(problem_.heads);
    std::vector<double> buckets(heads * static_cast<std::size_t>(problem_.relative.buckets));
    for (std::int64_t d = 0; d < distances_; ++d) {
      const auto bucket = static_cast<std::size_t>(relative_bucket(problem_.relative, d - distances_ / 2));
      for (std::size_t h = 0; h < heads; ++h) {
        buckets[bucket * heads + h] +=
            relative_[h * static_cast<std::size_t>(distances_) + static_cast<std::size_t>(d)];
      }
    }
    write_numbers(gradients_.relative, buckets);
  });
}

std::int64_t TermGradients::round_of(const Item& item) const {
  if (gradients_.bias == nullptr) return 0;
  const Bias& bias = problem_.bias;
  std::int64_t round = 0;
  if (bias.by_sequence == 0) round = item.sequence;
  round = round * problem_.kv_heads + (bias.by_head == 0 ? item.kv_head : 0);
  return (round << 32) + (bias.by_key == 0 ? item.first_key : 0);
}

}  // namespace rapt::attention
