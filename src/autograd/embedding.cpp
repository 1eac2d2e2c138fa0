#include "kernels/embedding.h"

#include <numeric>

#include "autograd/ops.h"

namespace rapt::ops {

Var embedding(Context& ctx, std::span<const std::int32_t> ids, const WeightPtr& table,
              const EmbeddingOptions& options) {
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const WeightPtr& learned = options.learned_positions;
  const Dropout dropout = draw_dropout(ctx, options.dropout);
  Var y(ctx.allocate({tokens, table->shape()[1]}, ctx.compute));
  const Tensor rows = table->rows_from_source(ids);
  std::vector<std::int32_t> places(rows.defined() ? ids.size() : 0);
  std::iota(places.begin(), places.end(), 0);
  kernels::embedding_forward(ctx, {.ids = rows.defined() ? places : ids,
                                   .table = rows.defined() ? rows : table->value(),
                                   .scale = options.scale,
                                   .positions = options.positions,
                                   .position_table = learned ? learned->value() : options.fixed_positions,
                                   .types = options.types,
                                   .type_table = options.type_table ? options.type_table->value() : Tensor(),
                                   .dropout = dropout,
                                   .y = y.value()});
  if (ctx.tape == nullptr) return y;

  std::vector<std::int32_t> kept_ids(ids.begin(), ids.end());
  std::vector<std::int32_t> kept_positions;
  if (learned) kept_positions.assign(options.positions.begin(), options.positions.end());
  std::vector<std::int32_t> kept_types(options.types.begin(), options.types.end());
  ctx.tape->record([=, scale = options.scale, type_table = options.type_table, ids = std::move(kept_ids),
                    positions = std::move(kept_positions), types = std::move(kept_types)](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    kernels::embedding_backward(c, ids, scale, dropout, dy, table->gradient_sum());
    if (learned) kernels::embedding_backward(c, positions, 1, dropout, dy, learned->gradient_sum());
    if (type_table) kernels::embedding_backward(c, types, 1, dropout, dy, type_table->gradient_sum());
  });
  return y;
}

}  // namespace rapt::ops
