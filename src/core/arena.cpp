#include "core/arena.h"

#include <bit>
#include <map>
#include <vector>

#include "core/aligned_memory.h"

namespace rapt {
namespace {

/// Sizes grow in eighths of a power of two: at most 12.5 % of a block is unused, and few sizes exist.
std::size_t round_up(std::size_t bytes) {
  bytes = std::max<std::size_t>(bytes, 1024);
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) & ~(step - 1);
}

}  // namespace

struct Arena::Pool {
  std::map<std::size_t, std::vector<void*>> free;
  std::size_t reserved = 0;

  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (auto& [size, blocks] : free) {
      for (void* block : blocks) AlignedDelete()(static_cast<std::byte*>(block));
    }
  }
};

Arena::Arena() : pool_(std::make_shared<Pool>()) {}

Tensor Arena::allocate(Shape shape, DType dtype) {
  const std::size_t bytes = static_cast<std::size_t>(shape.count()) * size_of(dtype);
  std::size_t wanted = bytes;
  if (shape.rank() > 1 && shape[0] > 0) wanted += bytes / static_cast<std::size_t>(shape[0]) * (row_multiple - 1);
  const std::size_t size = round_up(wanted);
  auto& blocks = pool_->free[size];
  void* data = nullptr;
  if (blocks.empty()) {
    data = line_memory(static_cast<std::int64_t>(size)).release();
    pool_->reserved += size;
  } else {
    data = blocks.back();
    blocks.pop_back();
  }
  std::shared_ptr<void> keep(data, [pool = pool_, size](void* block) { pool->free[size].push_back(block); });
  return {std::move(keep), data, shape, dtype, size - bytes};
}

std::size_t Arena::reserved() const {
  return pool_->reserved;
}

}  // namespace rapt
