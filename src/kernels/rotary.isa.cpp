#include "kernels/blocks.h"
#include "kernels/vector_loops.h"

namespace rapt::kernels::RAPT_ISA {
namespace {

constexpr int most_pairs = 128;

/// Cosines and sines of the angles of `count` pairs from `first` on at a position: the turns of its digits, composed. A
/// function of the position alone, whatever else is in the batch.
void turn(const RotaryBlock& block, int32_t position, int first, int count, double* cosines, double* sines) {
  const int half = block.rotary / 2;
  const double* place = block.turns + first;
  const auto digit_of = [](int32_t p) { return p % rotary_radix; };
  const double* lowest = place + digit_of(position) * 2 * half;
  memcpy(cosines, lowest, static_cast<unsigned long>(count) * sizeof(double));
  memcpy(sines, lowest + half, static_cast<unsigned long>(count) * sizeof(double));
  for (position /= rotary_radix; position > 0; position /= rotary_radix) {
    place += rotary_radix * 2 * half;
    if (digit_of(position) == 0) continue;
    const double* c = place + digit_of(position) * 2 * half;
    const double* s = c + half;
    each_vector<double>(count, [=](int64_t i, auto part) RAPT_INLINE_LAMBDA {
      const F64 cosine = load(cosines + i, part);
      const F64 sine = load(sines + i, part);
      store(cosine * load(c + i, part) - sine * load(s + i, part), cosines + i, part);
      store(sine * load(c + i, part) + cosine * load(s + i, part), sines + i, part);
    });
  }
}

template <typename T>
void rotate(const RotaryBlock& block) {
  using Scalar = typename Simd<T>::Scalar;
  const int half = block.rotary / 2;
  double exact_cosines[most_pairs];
  double exact_sines[most_pairs];
  Scalar cosines[most_pairs];
  Scalar sines[most_pairs];
  for (int64_t row = 0; row < block.rows; ++row) {
    for (int first = 0; first < half; first += most_pairs) {
      const int count = half - first < most_pairs ? half - first : most_pairs;
      turn(block, block.positions[row], first, count, exact_cosines, exact_sines);
      for (int i = 0; i < count; ++i) {
        cosines[i] = static_cast<Scalar>(block.scale * exact_cosines[i]);
        sines[i] = static_cast<Scalar>(block.scale * (block.inverse ? -exact_sines[i] : exact_sines[i]));
      }
      T* x = static_cast<T*>(block.data) + row * block.stride + first;
      for (int head = 0; head < block.heads; ++head, x += block.d_head) {
        each_vector<T>(count, [=, &cosines, &sines](int64_t i, auto part) RAPT_INLINE_LAMBDA {
          const auto a = load(x + i, part);
          const auto b = load(x + half + i, part);
          const auto c = load(cosines + i, part);
          const auto s = load(sines + i, part);
          store(a * c - b * s, x + i, part);
          store(b * c + a * s, x + half + i, part);
        });
      }
    }
  }
}

}  // namespace

void rotary_block(const RotaryBlock& block) {
  with_type(block.dtype, [&]<typename T>(Type<T>) { rotate<T>(block); });
}

}  // namespace rapt::kernels::RAPT_ISA
