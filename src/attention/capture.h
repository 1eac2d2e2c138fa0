/// Capturing attention weights while a model computes.
#pragma once

#include <set>
#include <string_view>
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
  /// [heads, queries, keys]; each row sums to 1 over the keys it may see. Of linear forms, the weights that they imply.
  std::vector<float> weights = {};

  float weight(int head, int query, int key) const {
    return weights[(static_cast<std::size_t>(head) * static_cast<std::size_t>(queries) +
                    static_cast<std::size_t>(query)) *
                       static_cast<std::size_t>(keys) +
                   static_cast<std::size_t>(key)];
  }
};

/// A layer whose attention cannot be told as weights.
struct AbsentAttention {
  AttentionKind kind = AttentionKind::encoder;
  int layer = 0;
  std::string_view reason;  ///< a literal
};

/// Keeps the weights of the kinds that are wanted. Memory grows with heads * queries * keys: this is for looking at
/// sentences.
class AttentionCapture final : public Trace {
 public:
  explicit AttentionCapture(std::set<AttentionKind> wanted) : wanted_(std::move(wanted)) {}

  void attention(const Context& ctx, const TracedAttention& traced) override;
  /// In the order they were computed: by kind and layer, then by sequence.
  const std::vector<CapturedAttention>& captured() const { return captured_; }
  /// Layers of these kinds that are not among captured(), in the order they were computed.
  const std::vector<AbsentAttention>& absent() const { return absent_; }

 private:
  std::set<AttentionKind> wanted_;
  std::vector<AbsentAttention> absent_;
  std::vector<CapturedAttention> captured_;
};

}  // namespace rapt
