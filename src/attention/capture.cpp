#include "attention/capture.h"

#include "rapt/linear_form.h"

namespace rapt {
namespace {

/// Why a layer has no weights that could be shown; "" when it has.
std::string_view reason_for_absence(const TracedAttention& traced) {
  using Kind = attention::LinearForm::Kind;
  if (traced.problem.linear == nullptr) return "";
  if (traced.problem.linear->kind == Kind::retention)
    return "retention weighs keys by numbers of either sign that have no fixed sum";
  if (traced.problem.linear->kind == Kind::gated_delta)
    return "the gated delta rule has no weights of keys, because later keys rewrite what earlier ones stored";
  return traced.inputs.states == nullptr ? "" : "a linear form keeps no keys of earlier steps";
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
      attention::weights(traced.problem, traced.inputs, traced.log_sum_exp, sequence, head,
                         std::span(map.weights).subspan(static_cast<std::size_t>(head) * size, size), ctx.threads());
    }
    captured_.push_back(std::move(map));
    ++sequence;
  }
}

}  // namespace rapt
