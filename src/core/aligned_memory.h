/// Memory for vectors: whole cache lines, not initialised.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace rapt {

constexpr std::align_val_t memory_alignment{64};

struct AlignedDelete {
  void operator()(std::byte* p) const { ::operator delete(p, memory_alignment); }
};
/// Owned memory, 64-byte aligned.
using AlignedMemory = std::unique_ptr<std::byte, AlignedDelete>;

/// bytes: at least 0.
inline AlignedMemory aligned_memory(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  return AlignedMemory(static_cast<std::byte*>(::operator new(size, memory_alignment)));
}

}  // namespace rapt
