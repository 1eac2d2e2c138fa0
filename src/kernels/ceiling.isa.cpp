#include "kernels/simd.h"

namespace rapt::kernels::RAPT_ISA {

void xor_words(const uint64_t* words, long count, uint64_t* result) {
  typedef uint64_t Words __attribute__((vector_size(64)));
  Words sums[4] = {};
  for (long i = 0; i + 32 <= count; i += 32) {
    for (int j = 0; j < 4; ++j) {
      Words w;
      memcpy(&w, words + i + 8 * j, sizeof w);
      sums[j] ^= w;
    }
  }
  const Words all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  uint64_t folded = 0;
  for (int j = 0; j < 8; ++j) folded ^= all[j];
  *result = folded;
}

}  // namespace rapt::kernels::RAPT_ISA
