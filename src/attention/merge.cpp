#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/check.h"

namespace rapt::attention {

void merge(const Merge& sizes, std::span<const Outputs> parts, const Outputs& result) {
  check_merge(sizes, parts, result);
  const auto merge_as = [&](auto storage, auto sum) {
    using T = decltype(storage);
    using S = decltype(sum);
    const auto at = [&](const Outputs& o, std::int64_t row) {
      return static_cast<T*>(o.out.data) + row / sizes.heads * o.out.stride + row % sizes.heads * sizes.d_value;
    };
    for (std::int64_t row = 0; row < sizes.tokens * sizes.heads; ++row) {
      const auto log_sum = [&](const Outputs& o) {
        return static_cast<double>(static_cast<const S*>(o.log_sum_exp)[row]);
      };
      double highest = -std::numeric_limits<double>::infinity();
      for (const Outputs& part : parts) highest = std::max(highest, log_sum(part));
      double total = 0;
      std::vector<double> values(static_cast<std::size_t>(sizes.d_value));
      for (const Outputs& part : parts) {
        if (log_sum(part) == -std::numeric_limits<double>::infinity()) continue;
        const double share = std::exp(log_sum(part) - highest);
        total += share;
        const T* const from = at(part, row);
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] += share * static_cast<double>(static_cast<S>(from[i]));
      }
      T* const to = at(result, row);
      for (std::size_t i = 0; i < values.size(); ++i) to[i] = T(static_cast<S>(total > 0 ? values[i] / total : 0));
      if (result.log_sum_exp != nullptr)
        static_cast<S*>(result.log_sum_exp)[row] = static_cast<S>(highest + std::log(total));
    }
  };
  switch (result.out.dtype) {
    case DType::f64:
      return merge_as(double{}, double{});
    case DType::bf16:
      return merge_as(bf16{}, float{});
    default:
      return merge_as(float{}, float{});
  }
}

}  // namespace rapt::attention
