/// Memory for what is read from end to end again and again, such as packed weights.
#pragma once

#include <cstddef>
#include <memory>

namespace rapt {

/// Memory that comes to lie in large pages while it is used, where the system has them: pieces lie one behind the other
/// in chunks, since most weights are smaller than a page. It begins in small pages, which are there at once, and the
/// kernel joins those of filled pieces at its leisure (khugepaged). A chunk is given back when the last of its pieces
/// is. 64-byte aligned, not initialised; a piece is to be filled before the next is asked for. May be called by several
/// threads. Throws std::bad_alloc.
std::shared_ptr<std::byte> large_page_memory(std::size_t bytes);

}  // namespace rapt
