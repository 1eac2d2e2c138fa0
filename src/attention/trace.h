/// Trace: how anyone sees what a model attends to. Set Context::trace; the operator then calls it once per layer.
#pragma once

#include "core/context.h"
#include "rapt/attention.h"

namespace rapt {

enum class AttentionKind { encoder, decoder, cross };

/// One call of attention that has just been computed; everything in it is valid during the call only.
struct TracedAttention {
  AttentionKind kind = AttentionKind::encoder;
  int layer = 0;
  const attention::Problem& problem;
  attention::Inputs inputs;
  /// [query tokens, heads]; with q and k it gives any weight: see attention::weights
  const void* log_sum_exp = nullptr;
};

class Trace {
 public:
  virtual ~Trace() = default;
  virtual void attention(const Context& ctx, const TracedAttention& traced) = 0;
};

/// Sets Context::trace for its own lifetime.
class TraceScope {
 public:
  TraceScope(Context& ctx, Trace& trace) : ctx_(ctx), previous_(ctx.trace) { ctx.trace = &trace; }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;
  ~TraceScope() { ctx_.trace = previous_; }

 private:
  Context& ctx_;
  Trace* previous_;
};

}  // namespace rapt
