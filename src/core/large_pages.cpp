#include "core/large_pages.h"

#include <mutex>

#include "core/aligned_memory.h"
#include "core/parallel.h"

namespace rapt {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{32} << 20;
constexpr std::size_t alignment = 64;

constexpr std::size_t page_bytes = std::size_t{2} << 20;

/// Writes into pages of [begin, end), which brings them here: by all threads at once, since a page takes a while.
void touch(std::byte* begin, std::byte* end, int threads) {
  const auto pages = static_cast<std::int64_t>((static_cast<std::size_t>(end - begin) + page_bytes - 1) / page_bytes);
  parallel_for(threads, pages, [&](std::int64_t page) { begin[page * static_cast<std::int64_t>(page_bytes)] = {}; });
}

struct Chunk {
  AlignedMemory memory = aligned_memory(chunk_bytes);
  std::size_t used = 0;
  std::size_t touched = 0;

  std::byte* take(std::size_t bytes, int threads) {
    std::byte* const begin = memory.get() + used;
    used += bytes;
    if (used > touched) {
      const std::size_t end = (used + page_bytes - 1) / page_bytes * page_bytes;
      touch(memory.get() + touched, memory.get() + end, threads);
      touched = end;
    }
    return begin;
  }
};

}  // namespace

std::shared_ptr<std::byte> large_page_memory(std::size_t bytes, int threads) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  if (bytes > chunk_bytes / 4) {
    std::shared_ptr<std::byte> memory = aligned_memory(static_cast<std::int64_t>(bytes));
    touch(memory.get(), memory.get() + bytes, threads);
    return memory;
  }

  static std::mutex mutex;
  static std::weak_ptr<Chunk> last;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Chunk> chunk = last.lock();
  if (chunk == nullptr || chunk->used + bytes > chunk_bytes) {
    chunk = std::make_shared<Chunk>();
    last = chunk;
  }
  std::byte* const begin = chunk->take(bytes, threads);
  return {std::move(chunk), begin};
}

}  // namespace rapt
