#include "formats/gguf_blocks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "core/float16.h"

namespace rapt {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are mapped as they are, little-endian");

using Bytes = const std::uint8_t*;

template <typename T>
T load(Bytes at) {
  T result;
  std::memcpy(&result, at, sizeof result);
  return result;
}

float half(Bytes at) {
  return float_of_f16(load<std::uint16_t>(at));
}

/// A loop over blocks; `Unpack` does one.
template <int elements, int bytes, void (*unpack)(Bytes block, float* result)>
void each(const std::byte* data, std::int64_t blocks, float* result) {
  const auto* block = reinterpret_cast<Bytes>(data);
  for (std::int64_t i = 0; i < blocks; ++i) unpack(block + i * bytes, result + i * elements);
}

void f32(const std::byte* data, std::int64_t blocks, float* result) {
  if (blocks > 0) std::memcpy(result, data, static_cast<std::size_t>(blocks) * sizeof *result);
}

void f16(Bytes block, float* result) {
  *result = half(block);
}

void bf16(Bytes block, float* result) {
  *result = std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(block)) << 16);
}

void q8_0(Bytes block, float* result) {
  const float scale = half(block);
  for (int i = 0; i < 32; ++i) result[i] = scale * static_cast<float>(load<std::int8_t>(block + 2 + i));
}

/// 32 integers of 4 bits: the low halves of 16 bytes, then the high ones.
void nibbles(Bytes packed, std::uint8_t* result) {
  for (int i = 0; i < 16; ++i) {
    result[i] = packed[i] & 15u;
    result[16 + i] = packed[i] >> 4;
  }
}

/// 32 integers of 5 bits: as above, with the fifth bits in a word in front.
void five_bits(Bytes packed, std::uint8_t* result) {
  const auto fifth = load<std::uint32_t>(packed);
  nibbles(packed + 4, result);
  for (int i = 0; i < 32; ++i) result[i] = static_cast<std::uint8_t>(result[i] | (fifth >> i & 1u) << 4);
}

/// scale * (q - zero)
template <void (*integers)(Bytes, std::uint8_t*), int zero>
void symmetric(Bytes block, float* result) {
  std::uint8_t q[32];
  const float scale = half(block);
  integers(block + 2, q);
  for (int i = 0; i < 32; ++i) result[i] = scale * static_cast<float>(q[i] - zero);
}

/// scale * q + least
template <void (*integers)(Bytes, std::uint8_t*)>
void affine(Bytes block, float* result) {
  std::uint8_t q[32];
  const float scale = half(block);
  const float least = half(block + 2);
  integers(block + 4, q);
  for (int i = 0; i < 32; ++i) result[i] = scale * static_cast<float>(q[i]) + least;
}

/// Scale and offset of each 32 elements of a Q4_K or Q5_K block.
struct Scales {
  float scale[8];
  float offset[8];
};

/// From two halves and twelve bytes that hold sixteen integers of 6 bits: four bytes each with scales and offsets 0 to
/// 3, and four with the low bits of 4 to 7, whose high bits are the top bits of the first eight.
Scales read_scales(Bytes block) {
  Scales result;
  const float scale = half(block);
  const float offset = half(block + 2);
  Bytes packed = block + 4;
  for (int i = 0; i < 4; ++i) {
    const unsigned first = packed[i];
    const unsigned second = packed[4 + i];
    const unsigned third = packed[8 + i];
    result.scale[i] = scale * static_cast<float>(first & 63u);
    result.offset[i] = offset * static_cast<float>(second & 63u);
    result.scale[4 + i] = scale * static_cast<float>((third & 15u) | (first >> 2 & 48u));
    result.offset[4 + i] = offset * static_cast<float>(third >> 4 | (second >> 2 & 48u));
  }
  return result;
}

void q4_k(Bytes block, float* result) {
  const Scales scales = read_scales(block);
  Bytes packed = block + 16;
  for (int part = 0; part < 8; ++part) {
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = packed[part / 2 * 32 + i] >> shift & 15;
      result[part * 32 + i] = scales.scale[part] * static_cast<float>(q) - scales.offset[part];
    }
  }
}

void q5_k(Bytes block, float* result) {
  const Scales scales = read_scales(block);
  Bytes fifth = block + 16;
  Bytes packed = block + 48;
  for (int part = 0; part < 8; ++part) {
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (packed[part / 2 * 32 + i] >> shift & 15) | (fifth[i] >> part & 1) << 4;
      result[part * 32 + i] = scales.scale[part] * static_cast<float>(q) - scales.offset[part];
    }
  }
}

void q6_k(Bytes block, float* result) {
  Bytes low = block;
  Bytes high = block + 128;
  Bytes scales = block + 192;
  const float scale = half(block + 208);
  for (int part = 0; part < 8; ++part) {
    const int in_half = part % 4;
    Bytes four = low + part / 4 * 64 + in_half % 2 * 32;
    Bytes two = high + part / 4 * 32;
    for (int i = 0; i < 32; ++i) {
      const int q = ((four[i] >> in_half / 2 * 4 & 15) | (two[i] >> in_half * 2 & 3) << 4) - 32;
      const float step = scale * static_cast<float>(load<std::int8_t>(scales + part * 2 + i / 16));
      result[part * 32 + i] = step * static_cast<float>(q);
    }
  }
}

constexpr BlockType types[] = {
    {0, "F32", 1, 4, f32, DType::f32},
    {1, "F16", 1, 2, each<1, 2, f16>, DType::f16},
    {2, "Q4_0", 32, 18, each<32, 18, symmetric<nibbles, 8>>},
    {3, "Q4_1", 32, 20, each<32, 20, affine<nibbles>>},
    {6, "Q5_0", 32, 22, each<32, 22, symmetric<five_bits, 16>>},
    {7, "Q5_1", 32, 24, each<32, 24, affine<five_bits>>},
    {8, "Q8_0", 32, 34, each<32, 34, q8_0>},
    {9, "Q8_1", 32, 40, nullptr},
    {10, "Q2_K", 256, 84, nullptr},
    {11, "Q3_K", 256, 110, nullptr},
    {12, "Q4_K", 256, 144, each<256, 144, q4_k>},
    {13, "Q5_K", 256, 176, each<256, 176, q5_k>},
    {14, "Q6_K", 256, 210, each<256, 210, q6_k>},
    {15, "Q8_K", 256, 292, nullptr},
    {16, "IQ2_XXS", 256, 66, nullptr},
    {17, "IQ2_XS", 256, 74, nullptr},
    {18, "IQ3_XXS", 256, 98, nullptr},
    {19, "IQ1_S", 256, 50, nullptr},
    {20, "IQ4_NL", 32, 18, nullptr},
    {21, "IQ3_S", 256, 110, nullptr},
    {22, "IQ2_S", 256, 82, nullptr},
    {23, "IQ4_XS", 256, 136, nullptr},
    {24, "I8", 1, 1, nullptr},
    {25, "I16", 1, 2, nullptr},
    {26, "I32", 1, 4, nullptr},
    {27, "I64", 1, 8, nullptr},
    {28, "F64", 1, 8, nullptr},
    {29, "IQ1_M", 256, 56, nullptr},
    {30, "BF16", 1, 2, each<1, 2, bf16>, DType::bf16},
    {34, "TQ1_0", 256, 54, nullptr},
    {35, "TQ2_0", 256, 66, nullptr},
    {39, "MXFP4", 32, 17, nullptr},
    {40, "NVFP4", 64, 36, nullptr},
    {41, "Q1_0", 128, 18, nullptr},
};

}  // namespace

const BlockType* find_block_type(std::uint32_t id) {
  const auto* found = std::ranges::find(types, id, &BlockType::id);
  return found == std::end(types) ? nullptr : found;
}

std::string unpackable_types() {
  std::vector<std::string_view> names;
  for (const BlockType& type : types) {
    if (type.unpack != nullptr) names.push_back(type.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace rapt
