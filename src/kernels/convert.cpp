#include "kernels/convert.h"

#include <algorithm>
#include <cstring>

#include "kernels/dispatch.h"

namespace rapt::kernels {

RAPT_DISPATCH(convert_elements, (DType from, const void* source, DType to, void* result, long count),
              (from, source, to, result, count))

void convert(const Context& ctx, const Tensor& source, const Tensor& result) {
  require(source.count() == result.count(), "cannot convert {} to {}", source.shape(), result.shape());
  constexpr std::int64_t block = 1 << 16;
  const std::int64_t count = source.count();
  const auto* from = static_cast<const std::byte*>(source.raw());
  auto* to = static_cast<std::byte*>(result.raw_write());
  ctx.parallel_for((count + block - 1) / block, [&](std::int64_t i) {
    const auto begin = static_cast<std::size_t>(i * block);
    convert_elements(source.dtype(), from + begin * size_of(source.dtype()), result.dtype(),
                     to + begin * size_of(result.dtype()), std::min(block, count - i * block));
  });
}

}  // namespace rapt::kernels
