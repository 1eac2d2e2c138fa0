#include "core/aligned_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace rapt {

namespace {

constexpr std::size_t line = 64, large_page = std::size_t{2} << 20;

std::size_t size_of(std::int64_t bytes, std::size_t alignment) {
  return (static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)) + alignment - 1) / alignment * alignment;
}

/// With std::malloc, whose address stands in front: glibc 2.36 cannot take a freed piece for an aligned one of the same
/// size, so that aligned_alloc lets the heap grow at every turn.
AlignedMemory allocate(std::size_t size, std::size_t alignment) {
  void* const whole = std::malloc(size + alignment + sizeof(void*));
  if (whole == nullptr) throw std::bad_alloc();
  const auto first = reinterpret_cast<std::uintptr_t>(whole) + sizeof(void*);
  auto* const begin = reinterpret_cast<std::byte*>((first + alignment - 1) / alignment * alignment);
  std::memcpy(begin - sizeof whole, &whole, sizeof whole);
  return AlignedMemory(begin);
}

}  // namespace

void AlignedDelete::operator()(std::byte* p) const {
  void* whole = nullptr;
  std::memcpy(&whole, p - sizeof whole, sizeof whole);
  std::free(whole);
}

AlignedMemory line_memory(std::int64_t bytes) {
  return allocate(size_of(bytes, line), line);
}

AlignedMemory aligned_memory(std::int64_t bytes) {
  if (bytes < static_cast<std::int64_t>(large_page)) return line_memory(bytes);
  const std::size_t size = size_of(bytes, large_page);
  AlignedMemory memory = allocate(size, large_page);
#ifdef __linux__
  madvise(memory.get(), size, MADV_HUGEPAGE);  // a wish: it may fail
#endif
  return memory;
}

}  // namespace rapt
