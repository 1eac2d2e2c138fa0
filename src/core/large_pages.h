/// Memory for what is read from end to end again and again, such as packed weights.
#pragma once

#include <cstddef>
#include <memory>

namespace rapt {

/// Memory in large pages, where the system has them: pieces lie one behind the other in chunks, since most weights are
/// smaller than a page. A chunk is given back when the last of its pieces is. 64-byte aligned, not initialised;
/// `threads` fetch the pages from the system, which clears them. May be called by several threads. Throws
/// std::bad_alloc.
std::shared_ptr<std::byte> large_page_memory(std::size_t bytes, int threads);

}  // namespace rapt
