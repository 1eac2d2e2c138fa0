#include <algorithm>
#include <cstring>

#include "autograd/ops.h"

namespace rapt::ops {

Var select_rows(Context& ctx, const Var& x, std::vector<std::int32_t> rows) {
  require(std::ranges::adjacent_find(rows, std::greater_equal()) == rows.end() &&
              (rows.empty() || (rows.front() >= 0 && rows.back() < x.dim(0))),
          "the rows to select must ascend within 0 to {}", x.dim(0) - 1);
  const auto count = static_cast<std::int64_t>(rows.size());
  Var y(ctx.allocate({count, x.dim(1)}, x.dtype()));
  const std::size_t bytes = static_cast<std::size_t>(x.dim(1)) * size_of(x.dtype());
  const auto* from = static_cast<const std::byte*>(x.value().raw());
  auto* to = static_cast<std::byte*>(y.value().raw_write());
  for (const std::int32_t row : rows) {
    std::memcpy(to, from + static_cast<std::size_t>(row) * bytes, bytes);
    to += bytes;
  }
  if (ctx.tape == nullptr) return y;

  ctx.tape->record([=, rows = std::move(rows)](Context& c) {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Tensor dx = c.allocate(x.shape(), x.dtype());
    auto* all = static_cast<std::byte*>(dx.raw_write());
    std::memset(all, 0, dx.bytes());
    const auto* selected = static_cast<const std::byte*>(dy.raw());
    for (const std::int32_t row : rows) {
      std::memcpy(all + static_cast<std::size_t>(row) * bytes, selected, bytes);
      selected += bytes;
    }
    x.add_gradient(c, std::move(dx));
  });
  return y;
}

}  // namespace rapt::ops
