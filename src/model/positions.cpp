#include "model/positions.h"

#include <cmath>

namespace rapt {

Tensor sinusoidal_positions(std::int64_t positions, std::int64_t width, DType dtype) {
  Tensor table = Tensor::empty({positions, width}, DType::f64);
  auto* row = table.write<double>();
  for (std::int64_t p = 0; p < positions; ++p, row += width) {
    for (std::int64_t i = 0; i < width / 2; ++i) {
      const double angle =
          static_cast<double>(p) / std::pow(10000.0, 2.0 * static_cast<double>(i) / static_cast<double>(width));
      row[i] = std::sin(angle);
      row[width / 2 + i] = std::cos(angle);
    }
  }
  return table.to(dtype);
}

}  // namespace rapt
