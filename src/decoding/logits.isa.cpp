#include "decoding/logits_block.h"
#include "kernels/simd.h"

namespace rapt::decoding::RAPT_ISA {
namespace {

using kernels::F32;
using kernels::I32;
using kernels::lanes;

/// Calls work(tokens of the block, index of the block) for each block; the last one is filled up with -inf.
template <typename Work>
RAPT_INLINE void for_each_block(const float* row, long count, Work work) {
  const long whole = count / logits_block;
  for (long b = 0; b < whole; ++b) work(row + b * logits_block, b);
  const long rest = count - whole * logits_block;
  if (rest == 0) return;
  float padded[logits_block];
  for (float& x : padded) x = -__builtin_inff();
  memcpy(padded, row + whole * logits_block, static_cast<unsigned long>(rest) * sizeof(float));
  work(padded, whole);
}

RAPT_INLINE F32 weight(const float* p, float shift, float scale) {
  return kernels::exp((kernels::load(p) - shift) * scale);
}

}  // namespace

void block_maxima(const float* row, long count, float* maxima, bool* has_nan) {
  I32 nan{};
  for_each_block(row, count, [&](const float* p, long b) {
    F32 best = kernels::broadcast(-__builtin_inff());
    for (int i = 0; i < logits_block; i += lanes) {
      const F32 x = kernels::load(p + i);
      nan |= x != x;
      best = kernels::max(x, best);
    }
    maxima[b] = kernels::maximum(best);
  });
  *has_nan = false;
  for (int i = 0; i < lanes; ++i) *has_nan = *has_nan || nan[i] != 0;
}

void block_exp_sums(const float* row, long count, float shift, float scale, float* sums) {
  for_each_block(row, count, [&](const float* p, long b) {
    F32 total{};
    for (int i = 0; i < logits_block; i += lanes) total += weight(p + i, shift, scale);
    sums[b] = kernels::sum(total);
  });
}

void exp_weights(const float* row, long count, float shift, float scale, float* weights) {
  for_each_block(row, count, [&](const float* p, long b) {
    for (int i = 0; i < logits_block; i += lanes) {
      kernels::store(weight(p + i, shift, scale), weights + b * logits_block + i);
    }
  });
}

}  // namespace rapt::decoding::RAPT_ISA
