/// The random numbers of dropout on attention weights, a block of rows at a time. Included by *.isa.cpp only.
#pragma once

#include "attention/blocks.h"

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
/// in the upper halves is ignored by the next round and cut off at the end.
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

/// Buffers for the random numbers of `rows` rows and `keys` keys.
struct DropoutMask {
  uint64_t* octet = nullptr;
  uint64_t* token = nullptr;
  uint64_t* head = nullptr;
  uint16_t* random = nullptr;  ///< [rows, keys rounded up to 8]
  long stride = 0;             ///< of random

  void carve(Carver& carver, long rows, long keys) {
    const long count = rows * ((keys + 7) / 8) + 2 * counters_per_vector;
    octet = carver.take<uint64_t>(count);
    token = carver.take<uint64_t>(count);
    head = carver.take<uint64_t>(count);
    random = carver.take<uint16_t>(count * 8);
  }

  /// Draws for rows [row, row + rows) of the item and the first `keys` keys from `first_key` (a multiple of 8) on. The
  /// counter (key index / 8, query token, head, "attn") gives eight consecutive keys of one weight row their 16 bits
  /// each, word by word, lower half first. The layout is the same for every instruction set, tile and neighbour.
  void draw(const Call& call, const Item& item, long row, long rows, long first_key, long keys) {
    const long octets = (keys + 7) / 8;
    stride = octets * 8;
    fill_counters(item, row, rows, first_key / 8, octets);
    for (long i = 0; i < rows * octets; i += counters_per_vector) {
      U64 c[4];
      memcpy(&c[0], octet + i, sizeof c[0]);
      memcpy(&c[1], token + i, sizeof c[1]);
      memcpy(&c[2], head + i, sizeof c[2]);
      c[3] = U64{} + static_cast<uint64_t>(0x6174746eu);
      philox(call.random_key, c);
      store_words(c, random + i * 8);
    }
  }

  /// Which of the weights of row `row` of the block at key `key` and its neighbours are kept.
  template <typename S>
  RAPT_INLINE Mask<S> kept(const Call& call, long row, long key) const {
    typedef uint16_t Bits __attribute__((vector_size(Simd<S>::width * 2)));
    Bits bits;
    memcpy(&bits, random + row * stride + key, sizeof bits);
    return __builtin_convertvector(bits, Mask<S>) >= static_cast<int32_t>(call.drop_below);
  }

 private:
  /// Lays the counters of all rows end to end, so that short rows leave no lanes idle. Whole vectors are stored: what
  /// goes over the end of a row is overwritten by the next.
  void fill_counters(const Item& item, long row, long rows, long first_octet, long octets) {
    U64 index;
    for (int i = 0; i < counters_per_vector; ++i) index[i] = static_cast<uint64_t>(i);
    for (long r = 0; r < rows; ++r) {
      const Row at = row_of(item, row + r);
      for (long i = 0; i < octets; i += counters_per_vector) {
        const U64 octet_index = index + static_cast<uint64_t>(first_octet + i);
        const U64 tokens = U64{} + static_cast<uint64_t>(at.token);
        const U64 heads = U64{} + static_cast<uint64_t>(at.head);
        memcpy(octet + r * octets + i, &octet_index, sizeof octet_index);
        memcpy(token + r * octets + i, &tokens, sizeof tokens);
        memcpy(head + r * octets + i, &heads, sizeof heads);
      }
    }
  }

  /// Stores the four words of each counter side by side.
  RAPT_INLINE static void store_words(const U64 (&c)[4], uint16_t* result) {
    const U64 first = (c[0] & 0xffffffffu) | (c[1] << 32);
    const U64 second = (c[2] & 0xffffffffu) | (c[3] << 32);
    I64 low, high;
    for (int i = 0; i < counters_per_vector; ++i) {
      low[i] = i / 2 + i % 2 * counters_per_vector;
      high[i] = low[i] + counters_per_vector / 2;
    }
    const U64 front = __builtin_shuffle(first, second, low);
    const U64 back = __builtin_shuffle(first, second, high);
    memcpy(static_cast<void*>(result), &front, sizeof front);
    memcpy(static_cast<void*>(result + 4 * counters_per_vector), &back, sizeof back);
  }
};

}  // namespace
}  // namespace rapt::attention::RAPT_ISA
