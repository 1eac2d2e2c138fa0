/// The random numbers of dropout, many at a time. For *.isa.cpp only, like simd.h: everything has internal linkage.
#pragma once

#include "kernels/dropout_mask.h"
#include "kernels/simd.h"
#include "kernels/vector_loops.h"

#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

namespace rapt::kernels {
namespace {

typedef uint64_t U64 __attribute__((vector_size(RAPT_LANES * 4)));
typedef uint16_t U16Half __attribute__((vector_size(RAPT_LANES)));

/// Products of the lower halves of all lanes. The compiler does not find this instruction on its own. (With a mask of
/// all lanes, since GCC 12 takes the unmasked intrinsic's operand for uninitialised.)
RAPT_INLINE U64 multiply_lower(U64 a, U64 b) {
#if RAPT_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<U64>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif RAPT_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<U64>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif RAPT_LANES == 4 && defined(__SSE2__)
  return reinterpret_cast<U64>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

constexpr int group_elements = 128;
constexpr int group_counters = 16;
/// Counters that are worked on at once: two groups where there are registers enough, to have independent chains of
/// products.
constexpr int counters_at_once = lanes == 16 ? 32 : lanes;
constexpr int groups_at_once = counters_at_once > group_counters ? counters_at_once / group_counters : 1;
constexpr int chains = 2 * counters_at_once / lanes;

/// Philox 4x32-10 (core/random.h) of the counters {low, high word of `counter`, 0, 0}, one a lane. Only the lower half
/// of each lane of `words` means anything, as in all variables here: products never read the upper half.
RAPT_INLINE void philox(const DropoutMask& mask, const U64 (&counter)[chains], U64 (&words)[4][chains]) {
  constexpr U64 zero{};
  uint32_t k0 = mask.key_low;
  uint32_t k1 = mask.key_high;
  auto& [c0, c1, c2, c3] = words;
  for (int i = 0; i < chains; ++i) {
    c0[i] = counter[i];
    c1[i] = counter[i] >> 32;
    c2[i] = zero;
    c3[i] = zero;
  }
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < chains; ++i) {
      const U64 p0 = multiply_lower(c0[i], zero + 0xD2511F53u);
      const U64 p1 = multiply_lower(c2[i], zero + 0xCD9E8D57u);
      c0[i] = (p1 >> 32) ^ c1[i] ^ (zero + k0);
      c1[i] = p1;
      c2[i] = (p0 >> 32) ^ c3[i] ^ (zero + k1);
      c3[i] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

RAPT_INLINE void store_halves(U32 words, uint16_t* lower, uint16_t* upper) {
  const U16 low = __builtin_convertvector(words & 0xffffu, U16);
  const U16 high = __builtin_convertvector(words >> 16, U16);
  memcpy(lower, &low, sizeof low);
  memcpy(upper, &high, sizeof high);
}

/// The 16-bit numbers of the elements of `groups` groups, in the order of the elements. Works on groups_at_once, so the
/// last one may overrun by one.
inline void fill_groups(const DropoutMask& mask, int64_t first_group, int64_t groups, uint16_t* numbers) {
  U64 lane;
  for (int i = 0; i < lanes / 2; ++i) lane[i] = static_cast<uint64_t>(2 * i);
  for (int64_t first = 0; first < groups * group_counters; first += counters_at_once) {
    U64 counters[chains];  // even and odd ones in turn
    for (int i = 0; i < chains; ++i) {
      counters[i] = lane + static_cast<uint64_t>(first_group * group_counters + first + i / 2 * lanes + i % 2);
    }
    U64 words[4][chains];
    philox(mask, counters, words);
    for (int i = 0; i < chains; i += 2) {
      const int64_t counter = first + i / 2 * lanes;
      uint16_t* group = numbers + counter / group_counters * group_elements + counter % group_counters;
      for (int w = 0; w < 4; ++w) {
        const U64 both = (words[w][i] & 0xffffffffu) | (words[w][i + 1] << 32);
        uint16_t* lower = group + 2 * w * group_counters;
        store_halves(reinterpret_cast<U32>(both), lower, lower + group_counters);
      }
    }
  }
}

/// Which elements of a run are kept, and their scaling.
struct Keep {
  const uint16_t* numbers;
  int threshold;
  float scale32;
  double scale64;

  /// v, the vector of elements from `i` on in the run: scaled where kept, 0 elsewhere.
  RAPT_INLINE F32 operator()(F32 v, int64_t i) const {
    U16 drawn;
    memcpy(&drawn, numbers + i, sizeof drawn);
    return reinterpret_cast<I32>(widen(drawn)) >= threshold ? v * scale32 : F32{};
  }
  RAPT_INLINE F64 operator()(F64 v, int64_t i) const {
    U16Half drawn;
    memcpy(&drawn, numbers + i, sizeof drawn);
    return __builtin_convertvector(drawn, I64) >= static_cast<int64_t>(threshold) ? v * scale64 : F64{};
  }
};
struct KeepAll {
  template <typename V>
  RAPT_INLINE V operator()(V v, int64_t) const {
    return v;
  }
};

/// Dropout of a block of elements, best visited in rising order.
class DropoutStream {
 public:
  /// Elements that keep() can be asked for at once.
  static constexpr int longest_run = 1024;

  explicit DropoutStream(const DropoutMask& mask) : mask_(mask) {}

  /// For elements [begin, begin + count); valid until the next call.
  Keep keep(int64_t begin, int64_t count) {
    if (begin < begin_ || begin + count > end_) refill(begin, count);
    return {numbers_ + (begin - begin_), static_cast<int>(mask_.threshold), static_cast<float>(mask_.scale),
            mask_.scale};
  }

 private:
  __attribute__((noinline)) void refill(int64_t begin, int64_t count) {
    constexpr int64_t ahead = longest_run / group_elements;  // when short rows follow each other
    const bool follows = begin_ <= begin && begin <= end_;
    const int64_t first = begin / group_elements;
    const int64_t needed = (begin + count - 1) / group_elements + 1 - first;
    const int64_t groups = follows && needed < ahead ? ahead : needed;
    fill_groups(mask_, first, groups, numbers_);
    begin_ = first * group_elements;
    end_ = begin_ + groups * group_elements;
  }

  const DropoutMask mask_;
  int64_t begin_ = 0;
  int64_t end_ = 0;
  // A run may begin in the middle of a group, and its last vector is read whole.
  uint16_t numbers_[longest_run + groups_at_once * group_elements + lanes] = {};
};

/// The same calls where nothing is dropped, at no cost.
struct NoDropout {
  static constexpr int64_t longest_run = INT64_MAX;
  RAPT_INLINE KeepAll keep(int64_t, int64_t) { return {}; }
};

/// Calls f with the DropoutStream of `mask`, or with NoDropout.
template <typename F>
RAPT_INLINE void with_dropout(const DropoutMask& mask, F f) {
  if (mask.active) {
    DropoutStream stream(mask);
    f(stream);
  } else {
    NoDropout none;
    f(none);
  }
}

/// Calls body(i, Whole or Part, keep) for every vector of the elements [begin, begin + count): i counts from `begin`,
/// keep(v) applies the dropout of these elements to the vector v.
template <typename T, typename Drop, typename Body>
RAPT_INLINE void each_vector_with_dropout(Drop& drop, int64_t begin, int64_t count, Body body) {
  for (int64_t run = 0; run < count; run += Drop::longest_run) {
    const int64_t length = count - run < Drop::longest_run ? count - run : Drop::longest_run;
    const auto keep = drop.keep(begin + run, length);
    each_vector<T>(length, [&](int64_t i, auto part)
                               RAPT_INLINE_LAMBDA { body(run + i, part, [&](auto v) { return keep(v, i); }); });
  }
}

}  // namespace
}  // namespace rapt::kernels
