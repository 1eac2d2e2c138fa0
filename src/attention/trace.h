/// Trace: how anyone sees what a model attends to and what becomes of its tokens. Set Context::trace; each attention
/// and each stack of blocks then calls it.
#pragma once

#include <string_view>

#include "core/context.h"
#include "rapt/attention.h"

namespace rapt {

enum class AttentionKind { encoder, decoder, cross };

/// "encoder", "decoder", "cross"
constexpr std::string_view name_of(AttentionKind kind) {
  constexpr std::string_view names[] = {"encoder", "decoder", "cross"};
  return names[static_cast<int>(kind)];
}

/// One call of attention that has just been computed; everything in it is valid during the call only.
struct TracedAttention {
  AttentionKind kind = AttentionKind::encoder;
  int layer = 0;
  const attention::Problem& problem;
  attention::Inputs inputs;
  /// [query tokens, heads]; with q and k it gives any weight: see attention::weights. Null for linear forms that are
  /// not normalised.
  const void* log_sum_exp = nullptr;
};

class Trace {
 public:
  virtual ~Trace() = default;
  virtual void attention(const Context& ctx, const TracedAttention& traced) = 0;
  /// The tokens' vectors [tokens, d_model] in the encoder or decoder, valid during the call only: embeddings as they
  /// enter the first block (layer 0), what each block gives (1, 2, ...), the last after the stack's last norm.
  virtual void hidden_states(Context& ctx, AttentionKind kind, int layer, const Tensor& states) {
    static_cast<void>(ctx), static_cast<void>(kind), static_cast<void>(layer), static_cast<void>(states);
  }
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
