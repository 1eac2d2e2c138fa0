/// The element types of GGUF tensors, most of them blocks of small integers with common scales
/// (https://github.com/ggml-org/ggml, docs/gguf.md; the blocks are those of ggml's quantisation types of the same
/// names).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "rapt/dtype.h"

namespace rapt {

/// One element type. A row of a tensor is whole blocks.
struct BlockType {
  std::uint32_t id;        ///< in files
  std::string_view name;   ///< "F32", "Q4_K", ...
  std::uint32_t elements;  ///< of a block
  std::uint32_t bytes;     ///< of a block
  /// Writes elements * blocks floats, bit for bit what the reference implementation makes of them. Null for types that
  /// rapt does not unpack. Blocks need no alignment.
  void (*unpack)(const std::byte* data, std::int64_t blocks, float* result);
  std::optional<DType> dtype = {};  ///< of types that a Tensor can hold as they are
};

/// The type of this id; null when no version of the format has it, or none has any more.
const BlockType* find_block_type(std::uint32_t id);

/// "F32, F16, ...": the types that can be unpacked.
std::string unpackable_types();

}  // namespace rapt
