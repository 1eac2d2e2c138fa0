#include "kernels/embedding.h"

#include <numeric>
#include <vector>

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(embedding_forward_block, (const EmbeddingBlock& block), (block))
RAPT_DISPATCH(embedding_backward_block, (const EmbeddingGradientBlock& block), (block))

namespace {

/// Throws Error unless every id names a row of a table.
void check_ids(const char* kernel, const char* name, std::span<const std::int32_t> ids, std::int64_t rows) {
  const auto outside = std::find_if(ids.begin(), ids.end(), [rows](std::int32_t id) { return id < 0 || id >= rows; });
  if (outside == ids.end()) return;
  fail("{}: {}[{}] is {}, expected a row of a table of {}", kernel, name, outside - ids.begin(), *outside, rows);
}

void check_forward(const Embedding& embedding) {
  constexpr const char* kernel = "embedding_forward";
  const Tensor& table = embedding.table;
  check_type(kernel, "table", table, {DType::f32, DType::bf16, DType::f64});
  require(table.shape().rank() == 2, "{}: table is {}, expected [rows, width]", kernel, table.shape());
  if (table.dtype() == DType::f64) {
    check_type(kernel, "y", embedding.y, {DType::f64});
  } else {
    check_type(kernel, "y", embedding.y, {DType::f32, DType::bf16});
  }
  const auto tokens = static_cast<std::int64_t>(embedding.ids.size());
  check_operand(kernel, "y", embedding.y, {tokens, table.dim(1)}, embedding.y.dtype());
  check_ids(kernel, "ids", embedding.ids, table.dim(0));
  const auto check_added = [&](const char* name, std::span<const std::int32_t> rows, const Tensor& added) {
    if (!added.defined()) return;
    check_operand(kernel, name, added, {added.dim(0), table.dim(1)}, accumulator_of(table.dtype()));
    require(rows.size() == embedding.ids.size(), "{}: {} {} for {} ids", kernel, rows.size(), name,
            embedding.ids.size());
    check_ids(kernel, name, rows, added.dim(0));
  };
  check_added("positions", embedding.positions, embedding.position_table);
  check_added("types", embedding.types, embedding.type_table);
}

/// The tokens in the order of their ids, those of one id in their own order (a counting sort); and where to cut them so
/// that no id is in two blocks.
struct TokensById {
  std::vector<std::int32_t> order;
  std::vector<std::int64_t> cuts;  ///< [blocks + 1]
};

TokensById sort_by_id(std::span<const std::int32_t> ids, std::int64_t rows, std::int64_t tokens_per_block) {
  std::vector<std::int64_t> next(static_cast<std::size_t>(rows) + 1);
  for (const std::int32_t id : ids) ++next[static_cast<std::size_t>(id) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  TokensById result{.order = std::vector<std::int32_t>(ids.size()), .cuts = {0}};
  for (std::size_t token = 0; token < ids.size(); ++token) {
    const auto place = next[static_cast<std::size_t>(ids[token])]++;
    result.order[static_cast<std::size_t>(place)] = static_cast<std::int32_t>(token);
  }
  const auto id_at = [&](std::size_t k) { return ids[static_cast<std::size_t>(result.order[k])]; };
  for (std::size_t k = 1; k < ids.size(); ++k) {
    const auto here = static_cast<std::int64_t>(k);
    if (here - result.cuts.back() >= tokens_per_block && id_at(k) != id_at(k - 1)) result.cuts.push_back(here);
  }
  if (!ids.empty()) result.cuts.push_back(static_cast<std::int64_t>(ids.size()));
  return result;
}

}  // namespace

void embedding_forward(const Context& ctx, const Embedding& embedding) {
  check_forward(embedding);
  const auto tokens = static_cast<std::int64_t>(embedding.ids.size());
  const std::int64_t width = embedding.table.dim(1);
  const DType dtype = embedding.y.dtype();
  const DropoutMask mask = mask_of(embedding.dropout);
  const bool positions = embedding.position_table.defined();
  const bool types = embedding.type_table.defined();
  void* const y = embedding.y.raw_write();
  const Blocks blocks = Blocks::of_rows(tokens, width);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t first = blocks.begin(i);
    embedding_forward_block({.table_type = embedding.table.dtype(),
                             .dtype = dtype,
                             .first_token = first,
                             .tokens = blocks.length(i),
                             .width = width,
                             .ids = embedding.ids.data() + first,
                             .table = embedding.table.raw(),
                             .scale = embedding.scale,
                             .positions = positions ? embedding.positions.data() + first : nullptr,
                             .position_table = embedding.position_table.raw(),
                             .types = types ? embedding.types.data() + first : nullptr,
                             .type_table = embedding.type_table.raw(),
                             .y = at(y, dtype, first * width),
                             .mask = mask});
  });
}

void embedding_backward(const Context& ctx, std::span<const std::int32_t> ids, double scale, const Dropout& dropout,
                        const Tensor& dy, const Tensor& d_table) {
  constexpr const char* kernel = "embedding_backward";
  check_type(kernel, "dy", dy, {DType::f32, DType::bf16, DType::f64});
  check_type(kernel, "d_table", d_table, {accumulator_of(dy.dtype())});
  require(d_table.shape().rank() == 2, "{}: d_table is {}, expected [rows, width]", kernel, d_table.shape());
  const std::int64_t width = d_table.dim(1);
  check_operand(kernel, "dy", dy, {static_cast<std::int64_t>(ids.size()), width}, dy.dtype());
  check_ids(kernel, "ids", ids, d_table.dim(0));

  const Blocks rows = Blocks::of_rows(d_table.dim(0), width);
  const TokensById sorted = sort_by_id(ids, d_table.dim(0), rows.size);
  const DropoutMask mask = mask_of(dropout);
  void* const sums = d_table.raw_write();
  ctx.parallel_for(static_cast<std::int64_t>(sorted.cuts.size()) - 1, [&](std::int64_t i) {
    const std::int64_t begin = sorted.cuts[static_cast<std::size_t>(i)];
    embedding_backward_block({.dtype = dy.dtype(),
                              .order = sorted.order.data() + begin,
                              .tokens = sorted.cuts[static_cast<std::size_t>(i) + 1] - begin,
                              .width = width,
                              .ids = ids.data(),
                              .scale = scale,
                              .dy = dy.raw(),
                              .d_table = sums,
                              .mask = mask});
  });
}

}  // namespace rapt::kernels
