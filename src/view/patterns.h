/// What kind of attention a head pays, measured: the share of its attention that follows a named pattern.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "attention/trace.h"

namespace rapt::view {

/// One head's attention, unpooled. weights [queries, keys], row-major.
struct HeadWeights {
  AttentionKind kind = AttentionKind::encoder;
  bool causal = false;  ///< query i sees keys 0 to i only
  int queries = 0;
  int keys = 0;
  std::span<const float> weights;
  const std::vector<bool>& special_queries;  ///< [queries]; pieces that are no text, such as </s>
  const std::vector<bool>& special_keys;     ///< [keys]
};

/// Shares in [0, 1]; 0 where a pattern has no meaning for the kind of attention or the sentence is too short to tell.
///
/// Of self-attention, averaged over queries i: `previous` is the weight of key i-1, `same` of key i, `next` of key i+1.
/// `first` and `last` are the weights of the first and the last key, the usual sinks (Xiao et al., "Efficient Streaming
/// Language Models with Attention Sinks", 2023); in self-attention, queries beside those keys are left out, so that no
/// weight counts for two patterns. `broad` is the entropy of a row over that of a uniform row on the keys it can see.
/// `aligned`, of cross-attention: the mean largest weight on a key of the text, times the share of keys (or of
/// queries, whichever are fewer) that are some query's largest; high when each target piece looks sharply at one source
/// piece, and different ones at different ones.
struct Patterns {
  float previous = 0;
  float same = 0;
  float next = 0;
  float first = 0;
  float last = 0;
  float broad = 0;
  float aligned = 0;
};

/// Measures one head.
Patterns measure(const HeadWeights& head);

struct NamedPattern {
  std::string_view name;  ///< a member of Patterns, or "mixed"
  float score = 0;
};

/// The strongest of the patterns other than `broad` if it takes at least 0.4 of the attention; else "broad" if that is
/// at least 0.8; else "mixed", with the score of the strongest.
NamedPattern name_of(const Patterns& patterns);

}  // namespace rapt::view
