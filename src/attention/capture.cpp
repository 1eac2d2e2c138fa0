#include "attention/capture.h"

namespace rapt {

void AttentionCapture::attention(const Context& ctx, const TracedAttention& traced) {
  if (!wanted_.contains(traced.kind)) return;
  int sequence = 0;
  for (const attention::Span& span : traced.problem.sequences) {
    CapturedAttention map{.kind = traced.kind,
                          .layer = traced.layer,
                          .sequence = sequence,
                          .heads = traced.problem.heads,
                          .queries = span.query_count,
                          .keys = span.key_count};
    const auto size = static_cast<std::size_t>(map.queries) * static_cast<std::size_t>(map.keys);
    map.weights.resize(static_cast<std::size_t>(map.heads) * size);
    for (int head = 0; head < map.heads; ++head) {
      attention::weights(traced.problem, traced.inputs, traced.log_sum_exp, sequence, head,
                         std::span(map.weights).subspan(static_cast<std::size_t>(head) * size, size), ctx.threads());
    }
    captured_.push_back(std::move(map));
    ++sequence;
  }
}

}  // namespace rapt
