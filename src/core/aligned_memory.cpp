#include "core/aligned_memory.h"

#include <algorithm>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace rapt {

AlignedMemory aligned_memory(std::int64_t bytes) {
  constexpr std::size_t line = 64, large_page = std::size_t{2} << 20;
  const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  const std::size_t alignment = wanted >= large_page ? large_page : line;
  const std::size_t size = (wanted + alignment - 1) / alignment * alignment;
  AlignedMemory memory(static_cast<std::byte*>(std::aligned_alloc(alignment, size)));
  if (memory == nullptr) throw std::bad_alloc();
#ifdef __linux__
  if (alignment == large_page) madvise(memory.get(), size, MADV_HUGEPAGE);  // a wish: it may fail
#endif
  return memory;
}

}  // namespace rapt
