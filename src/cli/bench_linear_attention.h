#pragma once

#include "cli/bench_attention_case.h"

namespace rapt::bench {

/// The linear forms, causal, over lengths: nanoseconds a token, and from which length each is faster than softmax
/// attention.
void linear_attention(const Context& ctx, DType dtype, const AttentionOptions& options);

}  // namespace rapt::bench
