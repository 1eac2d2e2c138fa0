#include "model/layers.h"

#include "kernels/convert.h"

namespace rapt {
namespace {

/// Each sequence over itself.
std::vector<attention::Span> own_spans(const Sequences& sequences) {
  std::vector<attention::Span> spans;
  for (std::int32_t i = 0; i < sequences.count(); ++i) {
    spans.push_back({sequences.begin(i), sequences.length(i), sequences.begin(i), sequences.length(i)});
  }
  return spans;
}

/// The same numbers in another type: those of new tokens alone, where a cache is kept in another type than is computed
/// with.
Var in_type(Context& ctx, const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor converted = ctx.allocate(x.value().shape(), dtype);
  kernels::convert(ctx, x.value(), converted);
  return Var(converted);
}

}  // namespace

Var TokenEmbedding::operator()(Context& ctx, std::span<const std::int32_t> ids, std::span<const std::int32_t> positions,
                               std::span<const std::int32_t> segments_of_tokens) const {
  const bool rounded = round_scale && ctx.compute == DType::bf16;
  const double factor = rounded ? static_cast<float>(bf16(static_cast<float>(scale))) : scale;
  const Var sum = ops::embedding(ctx, ids, table,
                                 {.scale = factor,
                                  .positions = positions,
                                  .fixed_positions = fixed_positions,
                                  .learned_positions = learned_positions,
                                  .types = segments_of_tokens,
                                  .type_table = segments,
                                  .dropout = norm.weight ? 0 : dropout});
  return norm.weight ? ops::dropout(ctx, norm(ctx, sum), dropout) : sum;
}

Var SelfAttention::project(Context& ctx, const Var& x, std::span<const std::int32_t> positions) const {
  const std::int64_t query_width = static_cast<std::int64_t>(options.heads) * options.d_head;
  Var projected = query_key_value(ctx, x);
  if (query_norm.weight) {
    const ops::HeadsNorm norms[] = {{.heads = options.heads, .norm = query_norm.rms()},
                                    {.begin = query_width, .heads = options.kv_heads, .norm = key_norm.rms()}};
    projected = ops::norm_heads(ctx, projected, norms);
  }
  // Queries and keys lie side by side, so their heads turn, and shrink to length 1, in one call.
  const int heads = options.heads + options.kv_heads;
  if (rotary.turns) {
    projected = ops::rotary(ctx, projected,
                            {.heads = heads,
                             .d_head = options.d_head,
                             .turns = rotary.turns,
                             .scale = rotary.scale,
                             .positions = positions});
  }
  return delta_gates.a_log ? ops::normalize_heads(ctx, projected, heads, options.d_head) : projected;
}

Var SelfAttention::operator()(Context& ctx, const Var& x, const Sequences& sequences,
                              std::span<const std::int32_t> positions, SelfAttentionCache* cache) const {
  const std::int64_t query_width = static_cast<std::int64_t>(options.heads) * options.d_head;
  const std::int64_t key_width = static_cast<std::int64_t>(options.kv_heads) * options.d_head;
  const Var projected = project(ctx, x, positions);
  const ops::HeadColumns q{projected, 0};
  const ops::HeadColumns k{projected, query_width}, v{projected, query_width + key_width};
  if (options.linear) {
    Tensor states;
    if (cache != nullptr) states = cache->states(sequences, ops::linear_state_size(options), x.dtype());
    return output(ctx, ops::linear_attention(ctx, q, k, v, own_spans(sequences), options,
                                             {.gates = delta_gates(ctx, x), .states = states}));
  }
  if (cache != nullptr) {
    const Var rows = in_type(ctx, projected, cache->dtype());
    std::vector<attention::Span> spans =
        cache->append(rows.value().columns(query_width, query_width + 2 * key_width), sequences);
    const Var kept(cache->keys_values());
    const Var heads =
        ops::scaled_dot_product_attention(ctx, {rows, 0}, {kept, 0}, {kept, key_width}, std::move(spans), options);
    return output(ctx, in_type(ctx, heads, x.dtype()));
  }
  return output(ctx, ops::attention(ctx, q, k, v, own_spans(sequences), options));
}

Var CrossAttention::operator()(Context& ctx, const Var& x, const Var& projected_memory,
                               std::vector<attention::Span> spans) const {
  const std::int64_t key_width = static_cast<std::int64_t>(options.kv_heads) * options.d_head;
  return output(ctx, ops::attention(ctx, {query(ctx, x), 0}, {projected_memory, 0}, {projected_memory, key_width},
                                    std::move(spans), options));
}

Var FeedForward::operator()(Context& ctx, const Var& x) const {
  if (gated) return outer(ctx, ops::gated(ctx, activation, inner(ctx, x), dropout));
  if (activation == kernels::Activation::relu && !(dropout > 0)) return outer(ctx, inner.relu(ctx, x));
  return outer(ctx, ops::activation(ctx, activation, inner(ctx, x), dropout));
}

}  // namespace rapt
