/// Capturing attention weights while a model computes.
#pragma once

#include <set>
#include <vector>

#include "attention/trace.h"

namespace rapt {

/// The attention weights of one layer and one sequence, of every head.
struct CapturedAttention {
  AttentionKind kind = AttentionKind::encoder;
  int layer = 0;
  int sequence = 0;
  int heads = 0;
  int queries = 0;
  int keys = 0;
  std::vector<float> weights = {};  ///< [heads, queries, keys]; each row sums to 1 over the keys it may see

  float weight(int head, int query, int key) const {
    return weights[(static_cast<std::size_t>(head) * static_cast<std::size_t>(queries) +
                    static_cast<std::size_t>(query)) *
                       static_cast<std::size_t>(keys) +
                   static_cast<std::size_t>(key)];
  }
};

/// Keeps the weights of the kinds that are wanted. Memory grows with heads * queries * keys: this is for looking at
/// sentences.
class AttentionCapture final : public Trace {
 public:
  explicit AttentionCapture(std::set<AttentionKind> wanted) : wanted_(std::move(wanted)) {}

  void attention(const Context& ctx, const TracedAttention& traced) override;
  /// In the order they were computed: by kind and layer, then by sequence.
  const std::vector<CapturedAttention>& captured() const { return captured_; }

 private:
  std::set<AttentionKind> wanted_;
  std::vector<CapturedAttention> captured_;
};

}  // namespace rapt
