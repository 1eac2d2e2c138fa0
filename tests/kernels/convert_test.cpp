#include "kernels/convert.h"

#include <limits>

#include "kernels/testing.h"

namespace rapt::kernels {
namespace {

using namespace rapt::testing;

TEST(Convert, RoundsLikeTheTensorsOwnConversion) {
  const Context ctx;
  for (const DType from : floating) {
    for (const DType to : floating) {
      for (const Shape& shape : shapes) {
        const Tensor source = random_tensor(shape, from, 1);
        const Tensor result = Tensor::empty(shape, to);
        convert(ctx, source, result);
        expect_same_bits(result, source.to(to));
      }
    }
  }
}

TEST(Convert, SpecialValuesSurvive) {
  const Context ctx;
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Values values(40, 0);
  values[3] = inf;
  values[17] = -inf;
  values[20] = nan;
  values[39] = nan;
  for (const DType from : floating) {
    for (const DType to : floating) {
      const Tensor result = Tensor::empty({40}, to);
      convert(ctx, tensor_of({40}, from, values), result);
      expect_close(result, values, 0, 0);
    }
  }
}

TEST(Convert, CountsThatDifferAreAnError) {
  const Context ctx;
  expect_error("cannot convert [3] to [4]",
               [&] { convert(ctx, Tensor::zeros({3}, DType::f32), Tensor::zeros({4}, DType::bf16)); });
}

}  // namespace
}  // namespace rapt::kernels
