#include "formats/byte_cursor.h"

#include "core/error.h"
#include "formats/printable.h"

namespace rapt {

void ByteCursor::require_left(std::uint64_t count, std::size_t size, std::string_view what) const {
  if (count <= left() / size) return;
  if (size == 1) {
    refuse(fmt::format("{}: expected {} bytes, but only {} are left; the file is truncated or damaged, fetch it again",
                       what, count, left()));
  }
  refuse(
      fmt::format("{}: expected {} of at least {} bytes each, but only {} bytes are left; the file is truncated or "
                  "damaged, fetch it again",
                  what, count, size, left()));
}

void ByteCursor::refuse(std::string_view problem) const {
  const std::string name = name_.empty() ? "" : fmt::format(" \"{}\"", printable(name_));
  fail("{}: at byte {}, in {}{}: {}", file_, offset_, kind_, name, problem);
}

}  // namespace rapt
