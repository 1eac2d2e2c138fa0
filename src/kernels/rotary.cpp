#include "kernels/rotary.h"

#include <algorithm>
#include <cmath>

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
  const int pairs = rotary.turns == nullptr ? 0 : rotary.turns->pairs();
  require(pairs > 0 && 2 * pairs <= rotary.d_head, "{}: {} frequencies, expected 1 to half of d_head = {}", kernel,
          pairs, rotary.d_head);
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

}  // namespace

RotaryTurns::RotaryTurns(std::span<const double> frequencies) : pairs_(static_cast<int>(frequencies.size())) {
  constexpr std::size_t places = 8;  // of the largest int32, in hexadecimal
  static_assert(rotary_radix == 16);
  const std::size_t entry = 2 * frequencies.size();
  turns_.resize(places * rotary_radix * entry);
  const auto turn = [&](std::size_t place, std::size_t digit) {
    return turns_.data() + (place * rotary_radix + digit) * entry;
  };
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    turn(0, 1)[i] = std::cos(frequencies[i]);
    turn(0, 1)[frequencies.size() + i] = std::sin(frequencies[i]);
  }
  for (std::size_t place = 0; place < places; ++place) {
    if (place > 0) compose(turn(place - 1, rotary_radix - 1), turn(place - 1, 1), pairs_, turn(place, 1));
    std::fill_n(turn(place, 0), frequencies.size(), 1.0);
    for (std::size_t digit = 2; digit < rotary_radix; ++digit) {
      compose(turn(place, digit - 1), turn(place, 1), pairs_, turn(place, digit));
    }
  }
}

void rotate(const Context& ctx, const Rotary& rotary) {
  check(rotary);
  const int rotated = 2 * rotary.turns->pairs();
  const auto rows = static_cast<std::int64_t>(rotary.positions.size());
  const Blocks blocks = Blocks::of_rows(rows, std::int64_t{rotary.heads} * rotated);
  ctx.parallel_for(blocks.count(), [&](std::int64_t i) {
    const std::int64_t row = blocks.begin(i);
    rotary_block({.dtype = rotary.dtype,
                  .data = at(rotary.data, rotary.dtype, row * rotary.stride),
                  .rows = blocks.length(i),
                  .stride = rotary.stride,
                  .heads = rotary.heads,
                  .d_head = rotary.d_head,
                  .rotary = rotated,
                  .scale = rotary.scale,
                  .inverse = rotary.inverse,
                  .positions = rotary.positions.data() + row,
                  .turns = rotary.turns->data()});
  });
}

}  // namespace rapt::kernels
