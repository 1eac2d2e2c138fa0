/// The random numbers of dropout on attention weights, a group of rows at a time. Included by *.isa.cpp only.
#pragma once

#include "attention/tile.h"

namespace rapt::attention::RAPT_ISA {
namespace {

typedef uint64_t U64 __attribute__((vector_size(RAPT_LANES * 4)));
constexpr int counters_per_vector = lanes / 2;

/// Products of the lower halves of the lanes.
RAPT_INLINE U64 multiply_low(U64 a, uint32_t b) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  // The unmasked intrinsic of GCC 12 starts from an undefined vector and is warned about.
  return reinterpret_cast<U64>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), _mm512_set1_epi64(b)));
#elif RAPT_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<U64>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), _mm256_set1_epi64x(b)));
#else
  return (a & 0xffffffffu) * static_cast<uint64_t>(b);
#endif
}

/// Philox 4x32-10 (core/random.h), a counter in each lane. Words are the lower halves of the lanes: what products leave
/// in the upper halves is ignored by the next round and by the reader.
RAPT_INLINE void philox(const uint32_t* key, U64 (&c)[4]) {
  uint32_t k0 = key[0];
  uint32_t k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const U64 p0 = multiply_low(c[0], 0xD2511F53u);
    const U64 p1 = multiply_low(c[2], 0xCD9E8D57u);
    c[0] = (p1 >> 32) ^ c[1] ^ static_cast<uint64_t>(k0);
    c[1] = p1;
    c[2] = (p0 >> 32) ^ c[3] ^ static_cast<uint64_t>(k1);
    c[3] = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// Which weights of a tile are kept. The counter (key index / 8, query token, head, "attn") gives eight consecutive
/// keys of one weight row their 16 bits each, word by word, lower half first. The layout is the same for every
/// instruction set, tile and neighbour.
template <typename S>
struct DropoutMask {
  uint32_t* words = nullptr;  ///< [keys / 2, group_rows]: the numbers of keys 2 i (lower half) and 2 i + 1

  void carve(Carver& carver) { words = carver.take<uint32_t>(tile_keys / 2 * group_rows<S>); }

  /// Draws for the rows [first_row, first_row + rows) of the item and `keys` keys from `first_key` (a multiple of 8)
  /// on.
  void draw(const Call& call, const Item& item, long first_row, long rows, long first_key, long keys) {
    uint64_t tokens[group_rows<S>], heads[group_rows<S>];
    for (long r = 0; r < group_rows<S>; ++r) {
      const Row row = row_of(item, first_row + (r < rows ? r : 0));
      tokens[r] = static_cast<uint64_t>(row.token);
      heads[r] = static_cast<uint64_t>(row.head);
    }
    for (long octet = 0; octet < (keys + 7) / 8; ++octet) {
      for (long r = 0; r < rows; r += counters_per_vector) {
        U64 c[4] = {
            U64{} + static_cast<uint64_t>(first_key / 8 + octet), {}, {}, U64{} + static_cast<uint64_t>(0x6174746eu)};
        memcpy(&c[1], tokens + r, sizeof c[1]);
        memcpy(&c[2], heads + r, sizeof c[2]);
        philox(call.random_key, c);
        for (int word = 0; word < 4; ++word) {
          typedef uint32_t Half __attribute__((vector_size(counters_per_vector * 4)));
          const Half low = __builtin_convertvector(c[word], Half);
          memcpy(words + (octet * 4 + word) * group_rows<S> + r, &low, sizeof low);
        }
      }
    }
  }

  /// The lanes of vector `v` whose weight of key `key` of the tile is kept.
  RAPT_INLINE Mask<S> kept(const Call& call, long key, int v) const {
    constexpr int width = Simd<S>::width;
    typedef uint32_t Words __attribute__((vector_size(width * 4)));
    Words w;
    memcpy(&w, words + key / 2 * group_rows<S> + v * width, sizeof w);
    const Words bits = key % 2 == 0 ? w & 0xffffu : w >> 16;
    return __builtin_convertvector(bits >= call.drop_below, Mask<S>);
  }
};

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
