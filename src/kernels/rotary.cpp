#include "kernels/rotary.h"

#include <cmath>
#include <vector>

#include "kernels/blocks.h"
#include "kernels/dispatch.h"
#include "kernels/operands.h"

namespace rapt::kernels {

RAPT_DISPATCH(rotary_block, (const RotaryBlock& block), (block))

namespace {

void check(const Rotary& rotary) {
  constexpr const char* kernel = "rotate";
  require(rotary.dtype == DType::f32 || rotary.dtype == DType::bf16 || rotary.dtype == DType::f64,
          "{}: data holds {}, expected f32, bf16 or f64", kernel, name_of(rotary.dtype));
  require(!rotary.frequencies.empty() && 2 * std::ssize(rotary.frequencies) <= rotary.d_head,
          "{}: {} frequencies, expected 1 to half of d_head = {}", kernel, rotary.frequencies.size(), rotary.d_head);
  require(rotary.heads > 0 && rotary.stride >= static_cast<std::int64_t>(rotary.heads) * rotary.d_head,
          "{}: rows of {} elements hold no {} heads of {}", kernel, rotary.stride, rotary.heads, rotary.d_head);
  const auto negative = std::find_if(rotary.positions.begin(), rotary.positions.end(), [](auto p) { return p < 0; });
  require(negative == rotary.positions.end(), "{}: positions[{}] is negative", kernel,
          negative - rotary.positions.begin());
}

/// result = a * b for `count` turns, each array holding cosines and then sines.
void compose(const double* a, const double* b, int count, double* result) {
  for (int i = 0; i < count; ++i) {
    result[i] = a[i] * b[i] - a[count + i] * b[count + i];
    result[count + i] = a[count + i] * b[i] + a[i] * b[count + i];
  }
}

/// RotaryBlock::turns for the positions up to `last`. Turns are composed rather than computed: of all cosines and sines
/// only those of position 1 are taken from the library. The error grows with the position like that of rounding its
/// angles in f64.
std::vector<double> turns_of(const Rotary& rotary, std::int32_t last) {
  const int half = static_cast<int>(rotary.frequencies.size());
  const std::size_t entry = 2 * static_cast<std::size_t>(half);
  std::size_t places = 1;
  for (std::int32_t rest = last / rotary_radix; rest > 0; rest /= rotary_radix) ++places;
  std::vector<double> turns(places * rotary_radix * entry);
  const auto turn = [&](std::size_t place, std::size_t digit) {
    return turns.data() + (place * rotary_radix + digit) * entry;
  };
  for (int i = 0; i < half; ++i) {
    turn(0, 1)[i] = std::cos(rotary.frequencies[static_cast<std::size_t>(i)]);
    turn(0, 1)[half + i] = std::sin(rotary.frequencies[static_cast<std::size_t>(i)]);
  }
  for (std::size_t place = 0; place < places; ++place) {
    if (place > 0) compose(turn(place - 1, rotary_radix - 1), turn(place - 1, 1), half, turn(place, 1));
    std::fill_n(turn(place, 0), half, 1.0);
    for (std::size_t digit = 2; digit < rotary_radix; ++digit) {
      compose(turn(place, digit - 1), turn(place, 1), half, turn(place, digit));
    }
  }
  return turns;
}

}  // namespace

void rotate(const Context& ctx, const Rotary& rotary) {
  check(rotary);
  if (rotary.positions.empty()) return;
  const auto turns = turns_of(rotary, *std::max_element(rotary.positions.begin(), rotary.positions.end()));
  const auto rows = static_cast<std::int64_t>(rotary.positions.size());
  const Blocks blocks = Blocks::of_rows(rows, 2 * rotary.heads * std::ssize(rotary.frequencies));
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    rotary_block({.dtype = rotary.dtype,
                  .data = at(rotary.data, rotary.dtype, row * rotary.stride),
                  .rows = blocks.length(i),
                  .stride = rotary.stride,
                  .heads = rotary.heads,
                  .d_head = rotary.d_head,
                  .rotary = static_cast<int>(2 * rotary.frequencies.size()),
                  .scale = rotary.scale,
                  .inverse = rotary.inverse,
                  .positions = rotary.positions.data() + row,
                  .turns = turns.data()});
  });
}

}  // namespace rapt::kernels
