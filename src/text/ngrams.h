/// Counting n-grams, for the metrics.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace rapt {

/// A sequence of numbered words or of code points.
using Symbols = std::vector<std::uint32_t>;

/// Called once for each distinct n-gram of `order` symbols; counts[s] says how often it stands in sequence s.
using NGramVisitor = std::function<void(int order, std::span<const std::int64_t> counts)>;

/// Visits every distinct n-gram of the sequences, of the orders 1 to max_order. Exact (no hash stands for an n-gram),
/// in time length x log(length) for each order whatever the text.
void for_each_ngram(std::span<const Symbols> sequences, int max_order, const NGramVisitor& visit);

}  // namespace rapt
