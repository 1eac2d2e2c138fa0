#include "core/large_pages.h"

#include <mutex>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "core/aligned_memory.h"

namespace rapt {
namespace {

constexpr std::size_t page_bytes = std::size_t{2} << 20;
constexpr std::size_t chunk_bytes = 16 * page_bytes;
constexpr std::size_t alignment = 64;

struct Chunk {
  AlignedMemory memory = line_memory(static_cast<std::int64_t>(chunk_bytes));
  std::size_t used = 0;

  std::byte* take(std::size_t bytes) {
#ifdef __linux__
    // What is filled. A wish: it may fail.
    const auto begin = (reinterpret_cast<std::uintptr_t>(memory.get()) + page_bytes - 1) / page_bytes * page_bytes;
    const auto end = (reinterpret_cast<std::uintptr_t>(memory.get()) + used) / page_bytes * page_bytes;
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
    std::byte* const piece = memory.get() + used;
    used += bytes;
    return piece;
  }
};

}  // namespace

std::shared_ptr<std::byte> large_page_memory(std::size_t bytes) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  if (bytes > chunk_bytes / 4) return line_memory(static_cast<std::int64_t>(bytes));

  static std::mutex mutex;
  static std::weak_ptr<Chunk> last;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Chunk> chunk = last.lock();
  if (chunk == nullptr || chunk->used + bytes > chunk_bytes) {
    chunk = std::make_shared<Chunk>();
    last = chunk;
  }
  std::byte* const begin = chunk->take(bytes);
  return {std::move(chunk), begin};
}

}  // namespace rapt
