/// Memory for vectors: whole cache lines, not initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rapt {

struct AlignedDelete {
  void operator()(std::byte* p) const;
};
/// Owned memory, 64-byte aligned.
using AlignedMemory = std::unique_ptr<std::byte, AlignedDelete>;

/// bytes: at least 0. Large memory asks for large pages: it is then there twenty times sooner. Throws std::bad_alloc.
AlignedMemory aligned_memory(std::int64_t bytes);
/// The same in pages of the usual size.
AlignedMemory line_memory(std::int64_t bytes);

}  // namespace rapt
