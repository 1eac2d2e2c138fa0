#include "attention/capture.h"

namespace rapt {
namespace {

/// Why a layer has no weights that could be shown; "" when it has.
std::string_view reason_for_absence(const TracedAttention& traced) {
  if (traced.linear == nullptr) return "";
  if (traced.linear->form.kind == attention::LinearForm::Kind::retention)
    return "retention weighs keys by numbers of either sign that have no fixed sum";
  if (traced.linear->form.kind == attention::LinearForm::Kind::gated_delta)
    return "the gated delta rule has no weights of keys, because later keys rewrite what earlier ones stored";
  return traced.from_start ? "" : "a linear form keeps no keys of earlier steps";
}

void weights_of(const Context& ctx, const TracedAttention& traced, int sequence, int head, std::span<float> weights) {
  if (traced.linear != nullptr) {
    attention::linear_weights(*traced.linear, traced.inputs, sequence, head, weights, ctx.threads());
  } else {
    attention::weights(traced.problem, traced.inputs, traced.log_sum_exp, sequence, head, weights, ctx.threads());
  }
}

}  // namespace

void AttentionCapture::attention(const Context& ctx, const TracedAttention& traced) {
  if (!wanted_.contains(traced.kind)) return;
  if (const std::string_view reason = reason_for_absence(traced); !reason.empty()) {
    absent_.push_back({.kind = traced.kind, .layer = traced.layer, .reason = reason});
    return;
  }
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
      weights_of(ctx, traced, sequence, head,
                 std::span(map.weights).subspan(static_cast<std::size_t>(head) * size, size));
    }
    captured_.push_back(std::move(map));
    ++sequence;
  }
}

}  // namespace rapt
